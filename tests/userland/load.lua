-- SPDX-License-Identifier: Apache-2.0
-- Loops that LuaJIT compiles, leaves and compiles again, and calls of C by its
-- FFI, with an output that is always the same: load.lua SIZE.
local size = tonumber(arg[1])
local bit, ffi = require("bit"), require("ffi")

local function mandelbrot(width)
	local sum = 0
	for y = 0, width - 1 do
		for x = 0, width - 1 do
			local cr, ci = x / width * 3 - 2, y / width * 2 - 1
			local zr, zi, n = 0, 0, 0
			while n < 60 and zr * zr + zi * zi < 4 do
				zr, zi, n = zr * zr - zi * zi + cr, 2 * zr * zi + ci, n + 1
			end
			sum = (sum * 31 + n) % 2147483647
		end
	end
	return sum
end

local function bodies(steps)
	local p = {{0, 0, 0, 0, 39.5}, {4.84, -1.16, 0.6, 2.8, 0.04}, {8.34, 4.12, -1.0, 1.8, 0.01}}
	for _ = 1, steps do
		for i = 1, 3 do
			for j = i + 1, 3 do
				local a, b = p[i], p[j]
				local dx, dy = a[1] - b[1], a[2] - b[2]
				local f = 0.001 / (dx * dx + dy * dy + 0.01) ^ 1.5
				a[3], a[4] = a[3] - dx * b[5] * f, a[4] - dy * b[5] * f
				b[3], b[4] = b[3] + dx * a[5] * f, b[4] + dy * a[5] * f
			end
		end
		for i = 1, 3 do
			p[i][1], p[i][2] = p[i][1] + p[i][3] * 0.001, p[i][2] + p[i][4] * 0.001
		end
	end
	return ("%.15g %.15g"):format(p[1][1], p[3][2])
end

local function queens(n)
	local found, cols, up, down = 0, {}, {}, {}
	local function place(row)
		if row > n then
			found = found + 1
			return
		end
		for c = 1, n do
			if not (cols[c] or up[row + c] or down[row - c]) then
				cols[c], up[row + c], down[row - c] = true, true, true
				place(row + 1)
				cols[c], up[row + c], down[row - c] = nil, nil, nil
			end
		end
	end
	place(1)
	return found
end

local function mixing(count)
	local h, a = 0x811c9dc5, 1
	for i = 1, count do
		a = bit.bxor(a, bit.lshift(a, 13))
		a = bit.bxor(a, bit.rshift(a, 17))
		a = bit.bxor(a, bit.lshift(a, 5))
		h = bit.tobit(bit.bxor(bit.rol(h, 5), a) + i)
	end
	return bit.tohex(h)
end

local function texts(count)
	local parts, seen = {}, {}
	for i = 1, count do
		local word = ("%x-%d"):format(i * 7919 % 4096, i % 13)
		parts[#parts + 1] = word
		seen[word] = (seen[word] or 0) + 1
	end
	table.sort(parts)
	local text, kinds = table.concat(parts, " "), 0
	for _ in pairs(seen) do kinds = kinds + 1 end
	local _, hits = text:gsub("(%x+)%-(%d)", "%2%1")
	return #text .. " " .. kinds .. " " .. hits .. " " .. text:sub(1000, 1020)
end

ffi.cdef[[
typedef struct { int32_t key; double weight; uint8_t tail[5]; } item;
void qsort(void *base, size_t count, size_t size, int (*cmp)(const item *, const item *));
int snprintf(char *to, size_t size, const char *format, ...);
size_t strlen(const char *s);
]]

local function foreign(count)
	local items, sum = ffi.new("item[?]", count), 0ULL
	for i = 0, count - 1 do
		items[i].key, items[i].weight = i * 7919 % 10007, i / 3
		items[i].tail[i % 5] = i % 256
	end
	local compare = ffi.cast("int (*)(const item *, const item *)", function(a, b)
		return a.key - b.key
	end)
	ffi.C.qsort(items, count, ffi.sizeof("item"), compare)
	compare:free()
	for i = 0, count - 1 do
		sum = sum * 6364136223846793005ULL + ffi.cast("uint64_t", items[i].key) + items[i].tail[i % 5]
	end
	local to = ffi.new("char[64]")
	for i = 1, count do
		ffi.C.snprintf(to, 64, "%d:%.3f", ffi.new("int", i), i / 7)
		sum = sum + ffi.C.strlen(to)
	end
	return tostring(sum)
end

local function coroutines(count)
	local function numbers(n)
		return coroutine.wrap(function()
			for i = 1, n do coroutine.yield(i) end
		end)
	end
	local sum = 0
	for n in numbers(count) do
		local ok, err = pcall(function() if n % 5 == 0 then error({n = n}) end return n end)
		sum = sum + (ok and err or -err.n)
	end
	return sum
end

print("mandelbrot", mandelbrot(60 * size))
print("bodies", bodies(20000 * size))
print("queens", queens(size > 5 and 9 or 7))
print("mixing", mixing(500000 * size))
print("texts", texts(5000 * size))
print("foreign", foreign(1000 * size))
print("coroutines", coroutines(2000 * size))
