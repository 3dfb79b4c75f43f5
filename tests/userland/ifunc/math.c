/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indirect functions of libm and libmvec. Variants with and without FMA may
 * differ in the last bit: a comparison is for CPUs that agree in it.
 */
#include "ifunc.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

enum { VALUES = 200 };

static double value(int i)
{
	static const double special[] = {
		0,
		-0.0,
		1,
		-1,
		0.5,
		1.5,
		2.5,
		-2.5,
		1e-310,
		1e308,
		4503599627370497.5,
		-1e22,
		INFINITY,
		-INFINITY,
		0x1p-1022,
		1e5,
		709.9,
		-745.2,
		88.8,
	};
	const int count = sizeof(special) / sizeof(*special);

	if (i < count)
		return special[i];
	return ((i * 2654435761u) % 1000003 / 1000003.0 - 0.5) *
	       (i % 3 ? 4 : 800);
}

/* A NaN's sign and payload are left to the implementation. */
static void put_double(struct digest *d, double val)
{
	uint64_t bits = 1;

	if (!isnan(val))
		memcpy(&bits, &val, sizeof(bits));
	digest_word(d, bits);
}

static void one(any_fn fn, struct digest *d)
{
	for (int i = 0; i < VALUES; i++)
		put_double(d, ((double (*)(double))fn)(value(i)));
}

static void one_float(any_fn fn, struct digest *d)
{
	for (int i = 0; i < VALUES; i++)
		put_double(d, ((float (*)(float))fn)((float)value(i)));
}

static void two(any_fn fn, struct digest *d)
{
	for (int i = 0; i < VALUES; i++)
		put_double(d, ((double (*)(double, double))fn)(
				      value(i), value(i * 7 % VALUES)));
}

static void two_float(any_fn fn, struct digest *d)
{
	for (int i = 0; i < VALUES; i++)
		put_double(d, ((float (*)(float, float))fn)(
				      (float)value(i),
				      (float)value(i * 7 % VALUES)));
}

static void three(any_fn fn, struct digest *d)
{
	for (int i = 0; i < VALUES; i++)
		put_double(d, ((double (*)(double, double, double))fn)(
				      value(i), value(i * 7 % VALUES),
				      value(i * 11 % VALUES)));
}

static void three_float(any_fn fn, struct digest *d)
{
	for (int i = 0; i < VALUES; i++)
		put_double(d, ((float (*)(float, float, float))fn)(
				      (float)value(i),
				      (float)value(i * 7 % VALUES),
				      (float)value(i * 11 % VALUES)));
}

static void sine_cosine(any_fn fn, struct digest *d)
{
	for (int i = 0; i < VALUES; i++) {
		double s, c;

		((void (*)(double, double *, double *))fn)(value(i), &s, &c);
		put_double(d, s);
		put_double(d, c);
	}
}

static void sine_cosine_float(any_fn fn, struct digest *d)
{
	for (int i = 0; i < VALUES; i++) {
		float s, c;

		((void (*)(float, float *, float *))fn)((float)value(i), &s,
							&c);
		put_double(d, s);
		put_double(d, c);
	}
}

static void clock_now(any_fn fn, struct digest *d)
{
	time_t now = 0;

	digest_word(d, ((time_t(*)(time_t *))fn)(&now) == now && now);
}

static void clock_of_day(any_fn fn, struct digest *d)
{
	struct timeval now = {0};
	int ret = ((int (*)(struct timeval *, void *))fn)(&now, NULL);

	digest_word(d, !ret && now.tv_sec);
}

static const struct ifunc_case cases[] = {
	{"acos", .math = one},
	{"asin", .math = one},
	{"atan", .math = one},
	{"atan2", .math = two},
	{"ceil", .math = one},
	{"cos", .math = one},
	{"exp", .math = one},
	{"exp2", .math = one},
	{"expm1", .math = one},
	{"floor", .math = one},
	{"fma", .math = three},
	{"log", .math = one},
	{"log1p", .math = one},
	{"log2", .math = one},
	{"nearbyint", .math = one},
	{"pow", .math = two},
	{"rint", .math = one},
	{"roundeven", .math = one},
	{"sin", .math = one},
	{"sinh", .math = one},
	{"tan", .math = one},
	{"tanh", .math = one},
	{"trunc", .math = one},
	{"sincos", .math = sine_cosine},
	{"ceilf", .math = one_float},
	{"cosf", .math = one_float},
	{"exp2f", .math = one_float},
	{"expf", .math = one_float},
	{"floorf", .math = one_float},
	{"fmaf", .math = three_float},
	{"log2f", .math = one_float},
	{"logf", .math = one_float},
	{"nearbyintf", .math = one_float},
	{"powf", .math = two_float},
	{"rintf", .math = one_float},
	{"roundevenf", .math = one_float},
	{"sinf", .math = one_float},
	{"tanf", .math = one_float},
	{"truncf", .math = one_float},
	{"sincosf", .math = sine_cosine_float},
	{"time", .math = clock_now},
	{"gettimeofday", .math = clock_of_day},
	{"__gettimeofday", .math = clock_of_day},
};

/* sinf64, sinf32x and sin are one function, and so are sinf32 and sinf. */
static size_t base_length(const char *name, const char **suffix)
{
	static const char *const doubles[] = {"f64", "f32x"};
	size_t len = strlen(name);

	*suffix = "";
	for (size_t i = 0; i < 2; i++)
		if (len > strlen(doubles[i]) &&
		    !strcmp(name + len - strlen(doubles[i]), doubles[i]))
			return len - strlen(doubles[i]);
	*suffix = "f";
	if (len > 3 && !strcmp(name + len - 3, "f32"))
		return len - 3;
	*suffix = "";
	return len;
}

const struct ifunc_case *math_case(const char *name)
{
	const char *suffix;
	size_t len = base_length(name, &suffix);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (!strncmp(cases[i].name, name, len) &&
		    !strcmp(cases[i].name + len, suffix))
			return &cases[i];
	return NULL;
}

/*
 * libmvec: _ZGV, the set of instructions, N for "not masked", lanes, a v for
 * each argument, the name. The loader's choice is within b (SSE) and d (AVX2);
 * e is for AVX-512, which a guest need not have.
 */
__attribute__((target("avx2"))) static void vector_256(any_fn fn,
						       struct digest *d, int i,
						       int args)
{
	double in[8], out[4];
	__m256d a, b;

	for (int k = 0; k < 8; k++)
		in[k] = value((i + k * 5) % VALUES);
	a = _mm256_loadu_pd(in);
	b = _mm256_loadu_pd(in + 4);
	if (args == 1)
		a = ((__m256d(*)(__m256d))fn)(a);
	else
		a = ((__m256d(*)(__m256d, __m256d))fn)(a, b);
	_mm256_storeu_pd(out, a);
	for (int k = 0; k < 4; k++)
		put_double(d, out[k]);
}

__attribute__((target("avx2"))) static void vector_256_float(any_fn fn,
							     struct digest *d,
							     int i, int args)
{
	float in[16], out[8];
	__m256 a, b;

	for (int k = 0; k < 16; k++)
		in[k] = (float)value((i + k * 5) % VALUES);
	a = _mm256_loadu_ps(in);
	b = _mm256_loadu_ps(in + 8);
	if (args == 1)
		a = ((__m256(*)(__m256))fn)(a);
	else
		a = ((__m256(*)(__m256, __m256))fn)(a, b);
	_mm256_storeu_ps(out, a);
	for (int k = 0; k < 8; k++)
		put_double(d, out[k]);
}

static void vector_128(any_fn fn, struct digest *d, int i, int args)
{
	__m128d a = _mm_set_pd(value(i), value((i + 5) % VALUES));
	__m128d b = _mm_set_pd(value((i + 9) % VALUES), value(VALUES - 1));
	double out[2];

	if (args == 1)
		a = ((__m128d(*)(__m128d))fn)(a);
	else
		a = ((__m128d(*)(__m128d, __m128d))fn)(a, b);
	_mm_storeu_pd(out, a);
	put_double(d, out[0]);
	put_double(d, out[1]);
}

static void vector_128_float(any_fn fn, struct digest *d, int i, int args)
{
	float in[8], out[4];
	__m128 a, b;

	for (int k = 0; k < 8; k++)
		in[k] = (float)value((i + k * 5) % VALUES);
	a = _mm_loadu_ps(in);
	b = _mm_loadu_ps(in + 4);
	if (args == 1)
		a = ((__m128(*)(__m128))fn)(a);
	else
		a = ((__m128(*)(__m128, __m128))fn)(a, b);
	_mm_storeu_ps(out, a);
	for (int k = 0; k < 4; k++)
		put_double(d, out[k]);
}

int vector_call(const char *name, any_fn fn, struct digest *d)
{
	static const struct {
		const char *prefix;
		void (*run)(any_fn fn, struct digest *d, int i, int args);
	} shapes[] = {
		{"_ZGVbN2v", vector_128},
		{"_ZGVbN4v", vector_128_float},
		{"_ZGVdN4v", vector_256},
		{"_ZGVdN8v", vector_256_float},
	};
	const size_t len = strlen(shapes[0].prefix);

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		int args = 0;

		if (strncmp(name, shapes[i].prefix, len))
			continue;
		if (name[3 + 1] == 'd' && !__builtin_cpu_supports("avx2"))
			return 0;
		args = name[len] == '_' ? 1 : name[len + 1] == '_' ? 2 : 0;
		for (int k = 0; args && k < VALUES; k++)
			shapes[i].run(fn, d, k, args);
		return args;
	}
	return 0;
}
