#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs real programs and prints what they say, in a guest and on the host alike:
#
#   programs.sh SIZE NAME…     SIZE: 1 for a few seconds of a plain CPU, up to 20
#
# For each NAME a line "== NAME", its output, a line "== NAME: status N". What
# is printed may depend on neither time, nor addresses, nor the CPU's number or
# kind; what a program makes is printed as a digest. Lies in /tests of the tree
# and works in WORK, or /tmp.
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONHASHSEED=0 TZ=UTC
work=${WORK:-/tmp}
export HOME=$work PERL_HASH_SEED=0 PYTHONDONTWRITEBYTECODE=1
unset GLIBC_TUNABLES OPENSSL_CONF

size=$1
shift
tests=/tests
data=$work/data

# Text and noise that every host makes the same.
make_data() {
	mkdir -p "$data"
	seq 1 $((size * 20000)) | awk '{
		n = (n * 16807 + $1) % 2147483647
		printf "%d %s-%x line %d of %d\n", n, substr("lorem ipsum dolor sit amet", n % 20 + 1, 6), n, $1 % 97, n % 1000
	}' >"$data/text"
	openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff \
		-iv 00000000000000000000000000000000 -in "$data/text" \
		-out "$data/noise"
	sha256sum "$data/text" "$data/noise" && [ -s "$data/noise" ]
}

# Addresses differ from run to run.
no_addresses() { sed 's/ *(0x[0-9a-f]*)//; s/0x[0-9a-f]*/ADDRESS/g'; }

loader() {
	ldconfig -C $work/ld.so.cache && ldconfig -C $work/ld.so.cache -p | sort
	for program in python3 perl openssl sqlite3 luajit xz zstd sort; do
		file=$(command -v $program)
		/lib64/ld-linux-x86-64.so.2 --list "$file" | no_addresses |
			sort
		for how in LD_BIND_NOW=1 LD_BIND_NOT=1 LD_HWCAP_MASK=0; do
			env $how "$program" --version </dev/null 2>&1 |
				head -n 1
		done
	done
	perl -e 'use XSLoader; use POSIX; use Socket; use Storable;
		use List::Util; use Data::Dumper; use Digest::SHA;
		use Time::HiRes; use Fcntl; use Encode; use B;
		print join(" ", map { s,.*/,,r } sort @DynaLoader::dl_shared_objects), "\n"'
}

# By the variants that the loader would choose on other CPUs. Names that a C
# library does not know are ignored.
ifunc() {
	step=$((64 / size))
	sse2=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-FMA,-SSE4_2,-SSE4_1,-SSSE3
	for hwcaps in "" -AVX512VL,-AVX512BW -AVX512VL,-AVX2 \
		-AVX512VL,-AVX2,-SSE4_2 $sse2 $sse2,-ERMS,-FSRM \
		-ERMS,-FSRM -BMI2 Prefer_No_VZEROUPPER \
		-AVX512VL,-AVX2,-AVX_Fast_Unaligned_Load,Fast_Unaligned_Copy; do
		echo "hwcaps $hwcaps"
		GLIBC_TUNABLES=glibc.cpu.hwcaps=$hwcaps $tests/ifunc $step
	done
	echo "thresholds"
	GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=2048:glibc.cpu.x86_rep_stosb_threshold=2048:glibc.cpu.x86_non_temporal_threshold=16448 \
		$tests/ifunc $step
}

python() { python3 -I $tests/load.py $size; }
perl_() { perl $tests/load.pl $size; }

lua() {
	luajit $tests/load.lua $size >$work/lua.jit
	luajit -joff $tests/load.lua $size >$work/lua.off
	cat $work/lua.jit
	cmp $work/lua.jit $work/lua.off
}

sqlite() {
	rm -f $work/sqlite.db
	sqlite3 -batch -cmd ".parameter init" \
		-cmd ".parameter set :rows $((size * 2000))" $work/sqlite.db \
		<$tests/load.sql
	sqlite3 $work/sqlite.db .dump | sha256sum
}

openssl_() {
	for digest in md5 sha1 sha224 sha256 sha384 sha512 sha512-256 sha3-256 \
		shake128 blake2b512 blake2s256 ripemd160 sm3; do
		openssl dgst -r -$digest "$data/noise" || return 1
	done
	key=00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210
	for cipher in aes-128-cbc aes-256-ctr aes-192-cfb aes-128-ofb \
		camellia-256-cbc aria-128-ctr chacha20 des-ede3-cbc sm4-cbc; do
		bits=$(openssl enc -$cipher -K $key -iv 0123456789abcdef0123456789abcdef \
			-in "$data/noise" -out $work/secret 2>/dev/null && sha256sum <$work/secret)
		echo "$cipher $bits"
		openssl enc -d -$cipher -K $key -iv 0123456789abcdef0123456789abcdef \
			-in $work/secret 2>/dev/null | cmp - "$data/noise" || return 1
	done
	openssl enc -aes-256-cbc -pbkdf2 -iter $((size * 500)) -S 0011223344556677 \
		-pass pass:word -in "$data/text" | sha256sum
	openssl_keys && openssl_speed
}

# Keys are drawn at random: only that both ends agree can be said.
openssl_keys() {
	cd $work || return 1
	openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa.key &&
		openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key &&
		openssl genpkey -algorithm X25519 -out x.key || return 1
	for key in rsa ec; do
		openssl pkey -in $key.key -pubout -out $key.pub &&
			openssl dgst -sha256 -sign $key.key -out $key.sig "$data/text" &&
			openssl dgst -sha256 -verify $key.pub -signature $key.sig "$data/text"
	done
	openssl pkey -in x.key -pubout -out x.pub
	openssl pkeyutl -derive -inkey x.key -peerkey x.pub | wc -c
	# A key that is given signs the same everywhere.
	perl -e 'print pack("H*", "302e020100300506032b657004220420" . "5a" x 32)' >ed.der
	openssl pkey -inform DER -in ed.der -out ed.key
	printf %s "a message" >ed.txt
	openssl pkeyutl -sign -rawin -inkey ed.key -in ed.txt | sha256sum
}

# How fast is another matter; that it ends, and with how many kinds.
openssl_speed() {
	openssl speed -seconds 1 -bytes 1024 -evp sha256 2>/dev/null | grep -c ^sha256 || return 1
	openssl speed -seconds 1 -bytes 1024 -evp aes-128-gcm 2>/dev/null |
		grep -ci '^aes-128-gcm'
}

packers() {
	for way in "gzip -n -1" "gzip -n -9" "bzip2 -9" "xz -T1 -1" "xz -T1 -3" \
		"xz -T1 --format=lzma -1" "zstd -q --single-thread -3" \
		"zstd -q --single-thread -12"; do
		for file in text noise; do
			$way -c "$data/$file" >$work/packed || return 1
			echo "$way $file $(sha256sum <$work/packed)"
			${way%% *} -dc $work/packed 2>/dev/null | cmp - "$data/$file" || return 1
		done
	done
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
		-cf - -C / tests | wc -c
}

text() {
	cd "$data" || return 1
	for how in "" -n -r -u "-k2" "-k4n -k1nr" -R -V -h; do
		[ "$how" = -R ] && how="-R --random-source=noise"
		sort $how text | sha256sum
	done
	sort --parallel=2 -S 1M text | sha256sum
	awk '{ n[$2] += $1 } END { for (k in n) print k, n[k] }' text | sort | sha256sum
	awk '{ s += sin($1) * exp($4 / 97) + log($1 + 1) } END { printf "%.9f\n", s }' text
	sed -E 's/([a-z]+)-([0-9a-f]+)/\2=\1/; y/abc/xyz/' text | sha256sum
	grep -cE '(lorem|dolor).*[02468]$' text
	grep -c -F 'line 5' text
	cut -d' ' -f2 text | tr a-z A-Z | uniq -c | sha256sum
	split -b 65537 noise part. && cat part.* | cmp - noise && rm part.*
	base64 noise | sha512sum
	od -An -tx4 noise | tail -n 3
	md5sum text; sha1sum text; sha224sum text; sha384sum text; b2sum text
	cksum text; sum -s noise
	factor 18446744073709551557 1000000016000000063 12345678901234567890
	comm -3 text noise 2>/dev/null | wc -l
	join -j1 text text 2>/dev/null | sha256sum | wc -l
	expr 999999999999 \* 77777 ; seq -f %.3f 0 0.37 12 | tail -n 2
	find / -xdev -path /usr/lib -prune -o -name 'ld-*' -print | sort
	ls -l /bin/sh; stat -c '%a %s' "$data/text"
	tail -n 50 text | diff - "$data/text" | wc -l
}

# The same source, the same bytes: text, object and program.
compiler() {
	mkdir -p $work/cc && cd $work/cc || return 1
	python3 -I $tests/gen_c.py ${FUNCTIONS:-$((10 + size * 6))} 1 >source.c
	wc -l source.c
	for level in "-O0" "-O2 -g" "-O3 -mavx2"; do
		gcc $level -w -ffile-prefix-map=$work/cc=. -S source.c -o source.s &&
			gcc -c source.s -o source.o && gcc source.o -lm -o program ||
			return 1
		sha256sum source.s source.o program
		./program | sha256sum
	done
	objdump -d program | sha256sum
	strip program && sha256sum program
	ar rcD lib.a source.o && nm lib.a | sha256sum
}

# Each stressor checks what it does; how often it did so is timing.
stress() {
	for what in "cpu 1 --cpu-method all --cpu-ops 90" \
		"vm 1 --vm-bytes 8m --vm-method all --vm-ops 4000" \
		"matrix 1 --matrix-size 32 --matrix-ops 40" "qsort 1 --qsort-size 8192 --qsort-ops 4" \
		"memcpy 1 --memcpy-ops 10" "str 1 --str-ops 600" "wcs 1 --wcs-ops 300" \
		"fp 1 --fp-ops 30" "hash 1 --hash-ops 20" "crypt 1 --crypt-ops 2" \
		"vecmath 1 --vecmath-ops 10" "bsearch 1 --bsearch-size 4096 --bsearch-ops 10" \
		"hsearch 1 --hsearch-size 1024 --hsearch-ops 10" "tsearch 1 --tsearch-size 4096 --tsearch-ops 4" \
		"zlib 1 --zlib-ops 2" "pipe 1 --pipe-ops 2000" "fork 1 --fork-ops 40" \
		"switch 1 --switch-ops 1000" "mmap 1 --mmap-bytes 4m --mmap-ops 4" \
		"malloc 1 --malloc-bytes 4m --malloc-ops 2000" "sigfpe 1 --sigfpe-ops 200" \
		"sigsegv 1 --sigsegv-ops 200" "futex 1 --futex-ops 500" "atomic 2 --atomic-ops 40" \
		"longjmp 1 --longjmp-ops 10000" "nop 1 --nop-ops 20"; do
		name=${what%% *}
		stress-ng --verify --$what --timeout 300 --temp-path $work >$work/stress 2>&1
		status=$?
		# 4: this machine cannot run that one.
		echo "$name $status"
		[ $status = 0 ] || sed "s/^/| /" $work/stress
		grep -E 'fail|error' $work/stress | sed 's/\[[0-9]*\]//'
	done
}

run() { # NAME
	case $1 in
	data) make_data ;;
	perl) perl_ ;;
	openssl) openssl_ ;;
	loader | ifunc | python | lua | sqlite | packers | text | compiler | stress) $1 ;;
	*) echo "no such program"; return 2 ;;
	esac
}

for name in data "$@"; do
	echo "== $name"
	(run "$name") 2>&1
	echo "== $name: status $?"
done
