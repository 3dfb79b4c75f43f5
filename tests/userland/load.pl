#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Regular expressions, hashes, sorting, packing, big numbers, processes, with an
# output that is always the same: load.pl SIZE.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha256_hex sha512_hex);
use List::Util qw(sum max reduce shuffle);
use MIME::Base64;
use Math::BigInt;
use POSIX qw(floor fmod strtol);
use Storable qw(freeze thaw);

my $size = shift;
my $state = 7;
$| = 1;

sub draw {
	$state = ($state * 16807) % 2147483647;
	return $state % shift;
}

sub words {
	return map { join '', map { chr(97 + draw(9)) } 1 .. 2 + draw(6) }
		1 .. 3000 * $size;
}

sub texts {
	my @words = words();
	my $text = join ' ', @words;
	my %count;
	$count{$_}++ for @words;
	my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
	print "words @top[0 .. 9] ", scalar @top, "\n";
	print "match ", scalar(() = $text =~ /\b(\w)\w*\1\b/g), " ",
		scalar(() = $text =~ /(?<=a)b(?!c)|d{2,}|(?:ef)+g?/g), "\n";
	(my $turned = $text) =~ s/(\w+) (\w+)/ucfirst(reverse $2) . "-$1"/ge;
	print "replace ", md5_hex($turned), "\n";
	$text =~ tr/a-e/E-I/;
	print "letters ", sha256_hex($text), "\n";
	print "sorted ", md5_hex(join ',', sort { lc $a cmp lc $b } @words), "\n";
	my $nested = '(' x 60 . 'x' . ')' x 60;
	my $balanced = qr/\((?:[^()]++|(??{ our $balanced_again }))*\)/;
	our $balanced_again = $balanced;
	print "balanced ", ($nested =~ /^$balanced$/ ? 1 : 0), "\n";
	print "unicode ", md5_hex(join ',', map { ord lc chr } 192 .. 600), "\n";
}

sub numbers {
	my $sum = 0;
	$sum += sin($_) * sqrt($_) + atan2($_, 3) + exp(-$_ / 1e3) + log($_)
		for 1 .. 5000 * $size;
	printf "float %.12g %a\n", $sum, $sum;
	my $big = Math::BigInt->new(1);
	$big->bmul($_)->badd(3) for 1 .. 60 + 20 * $size;
	print "big ", md5_hex("$big"), " ", $big->copy->bmod(1000003), "\n";
	print "bits ", md5_hex(join ',', map { ($_ * 2654435761) & 0xffffffff ^ $_ >> 3 }
		1 .. 2000 * $size), "\n";
	printf "formats %s\n", md5_hex(join ',', map {
		sprintf '%08.3f %e %x %o %b %+d %s', $_ / 7, $_ * 1e10, $_, $_, $_, -$_, $_ / 3
	} 1 .. 500 * $size);
	print "modulo ", fmod(1e15, 7.5), " ", floor(-2.5), " ", -7 % 3, "\n";
}

sub packing {
	my $data = join '', map { pack 'NvCa3dq<w', $_, $_ % 999, $_ % 256, "ab$_", $_ / 3, -$_, $_ }
		1 .. 800 * $size;
	print "pack ", sha512_hex($data), "\n";
	print "unpack ", md5_hex(join ',', unpack '(C n)*', $data), "\n";
	print "base64 ", (decode_base64(encode_base64($data)) eq $data ? 1 : 0), "\n";
	my %deep = map { $_ => [ 1 .. $_ % 9, { name => "n$_" } ] } 1 .. 300 * $size;
	my $again = thaw(freeze(\%deep));
	print "storable ", md5_hex(join ',', map { scalar @{ $again->{$_} } . $again->{$_}[-1]{name} } sort keys %$again), "\n";
	my $bits = '';
	vec($bits, draw(100000), 1) = 1 for 1 .. 5000;
	print "vector ", md5_hex($bits), " ", unpack('%32b*', $bits), "\n";
}

sub closures {
	my @code = map { my $n = $_; sub { return $n * shift() + ($_[0] // 1) } } 1 .. 50;
	my $total = 0;
	for my $round (1 .. 200 * $size) {
		$total = ($total + $_->($round, $total % 7)) % 1000003 for @code;
	}
	print "closures $total\n";
	my $fib;
	$fib = sub { my $n = shift; return $n < 2 ? $n : $fib->($n - 1) + $fib->($n - 2) };
	print "fib ", $fib->(16), "\n";
	my $count = 0;
	for (1 .. 2000 * $size) { eval { die { n => $_ } if $_ % 3; 1 } or $count += $@->{n} }
	print "die $count\n";
	print "eval ", eval(join '+', map { "($_*$_)" } 1 .. 500), "\n";
}

sub processes {
	for my $child (1 .. 4) {
		pipe my $from, my $to or die;
		if (!fork) {
			print $to join ',', map { $_ * $child } 1 .. 1000;
			close $to;
			exit $child;
		}
		close $to;
		my $said = <$from>;
		wait;
		print "child ", md5_hex($said), " ", $? >> 8, "\n";
	}
	my $hits = 0;
	local $SIG{USR1} = sub { $hits++ };
	kill USR1 => $$ for 1 .. 30;
	print "signals $hits\n";
	print "shell ", `echo \$((6 * 7))`;
}

texts();
numbers();
packing();
closures();
processes();
