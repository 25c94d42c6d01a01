"""WGSL functions that shaders call by name: what WGSL leaves open, made exact by bits.

A text may use other functions of LIBRARY; `closure` finds them. Where a device has no 64-bit
integers, i64 and u64 are vec2<u32>: (low, high). No value is tested for NaN or infinity but by its
bits, and none is a constant expression: compilers may assume that floats are finite. They may also
reassociate: `guard` hides a value by params[1], which is 0. Where fma() is not fused, fma_f32 and
fma_f64 keep what the product and the sum lose, and round once or nearly so; halves of an operand
must not be subnormal, as these may count as 0. The remainder of a negative number is undefined in
Vulkan, and so is the quotient of floats by more than 2**126; a constant over an f64 is not exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FLOATS = """
fn bits_f32(x: u32) -> f32 { return bitcast<f32>(x); }
fn nan_f32(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn ordered_f32(x: f32, y: f32) -> bool { return !(nan_f32(x) || nan_f32(y)); }
fn eq_f32(x: f32, y: f32) -> bool { return x == y && ordered_f32(x, y); }
fn ne_f32(x: f32, y: f32) -> bool { return !eq_f32(x, y); }
fn lt_f32(x: f32, y: f32) -> bool { return x < y && ordered_f32(x, y); }
fn le_f32(x: f32, y: f32) -> bool { return x <= y && ordered_f32(x, y); }
fn true_f32(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) != 0u; }
fn copysign_f32(x: f32, y: f32) -> f32 {
  return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(y) & 0x80000000u));
}
fn sqrt_f32(x: f32) -> f32 {
  let b = bitcast<u32>(x);
  if ((b & 0x7fffffffu) == 0u || b == 0x7f800000u) { return x; }
  if (b >= 0x80000000u || b > 0x7f800000u) { return bits_f32(0x7fc00000u); }
  return sqrt(x);
}
fn div_f32(x: f32, y: f32) -> f32 {
  let a = bitcast<u32>(x) & 0x7fffffffu;
  let b = bitcast<u32>(y) & 0x7fffffffu;
  if (a - 1u < 0x7f7fffffu && b - 1u < 0x7f7fffffu) {
    if (b <= 0x7e800000u) { return x / y; }
    return guard_f32(x * 0.25f) / guard_f32(y * 0.25f);
  }
  let sign = (bitcast<u32>(x) ^ bitcast<u32>(y)) & 0x80000000u;
  if (a > 0x7f800000u || b > 0x7f800000u || a == b) { return bits_f32(0x7fc00000u); }
  return bitcast<f32>(sign | select(0u, 0x7f800000u, a == 0x7f800000u || b == 0u));
}
fn guard_f32(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ params[1]); }
fn fma_f32(x: f32, y: f32, z: f32) -> f32 {
  let p = guard_f32(x * y);
  let s = guard_f32(p + z);
  if ((bitcast<u32>(s) & 0x7f800000u) == 0x7f800000u) {
    let finite = max(bitcast<u32>(x) & 0x7fffffffu, bitcast<u32>(y) & 0x7fffffffu) < 0x7f800000u;
    return select(s, z, finite && (bitcast<u32>(z) & 0x7f800000u) == 0x7f800000u);
  }
  if ((bitcast<u32>(p) & 0x7fffffffu) < 0x12800000u) { return s; }
  let small = (bitcast<u32>(x) & 0x7fffffffu) < 0x1f800000u;
  let less = (bitcast<u32>(y) & 0x7fffffffu) < 0x1f800000u;
  let u = x * select(select(1.0f, 0x1p-64f, less), 0x1p+64f, small);
  let v = y * select(select(1.0f, 0x1p+64f, less), 0x1p-64f, small);
  let x1 = bitcast<f32>(bitcast<u32>(u) & 0xfffff000u);
  let y1 = bitcast<f32>(bitcast<u32>(v) & 0xfffff000u);
  let x0 = u - x1;
  let y0 = v - y1;
  let e = guard_f32(guard_f32(guard_f32(x1 * y1 - p) + x1 * y0) + x0 * y1) + x0 * y0;
  let t = guard_f32(s - p);
  let lost = guard_f32(p - guard_f32(s - t)) + (z - t);
  return s + guard_f32(lost + e);
}
fn irem_i32(x: i32, y: i32) -> i32 { return x - x / y * y; }
fn step_f32(m: u32, by: u32) -> u32 { return select(m, m - by, m >= by); }
fn frem_f32(x: f32, y: f32) -> f32 {
  let a = bitcast<u32>(x) & 0x7fffffffu;
  let b = bitcast<u32>(y) & 0x7fffffffu;
  if (a >= 0x7f800000u || b > 0x7f800000u || b == 0u) { return bits_f32(0x7fc00000u); }
  if (a < b) { return x; }
  var e = max(a >> 23u, 1u);
  var last = max(b >> 23u, 1u);
  var m = select(a & 0x7fffffu, (a & 0x7fffffu) | 0x800000u, a >= 0x800000u);
  let by = select(b & 0x7fffffu, (b & 0x7fffffu) | 0x800000u, b >= 0x800000u);
  m = m % by;
  for (; e > last && m != 0u; e -= 1u) { m = step_f32(m << 1u, by); }
  e = last;
  let sign = bitcast<u32>(x) & 0x80000000u;
  if (m == 0u) { return bitcast<f32>(sign); }
  let up = min(countLeadingZeros(m) - 8u, e - 1u);
  m = m << up;
  e = e - up;
  return bitcast<f32>(sign | select(m, (m & 0x7fffffu) | (e << 23u), m >= 0x800000u));
}
fn i32_f32(x: f32, low: f32, high: f32, least: i32, most: i32) -> i32 {
  if (nan_f32(x)) { return 0i; }
  if (x <= low) { return least; }
  if (x >= high) { return most; }
  return i32(x);
}
fn u32_f32(x: f32, high: f32, most: u32) -> u32 {
  if (nan_f32(x) || x <= 0.0f) { return 0u; }
  if (x >= high) { return most; }
  return u32(x);
}
"""

_HALVES = """
fn f32_f16(h: u32) -> f32 {
  let rest = (h & 0x7fffu) << 13u;
  var r = rest + 0x38000000u;
  if (rest >= 0x0f800000u) { r = rest + 0x70000000u; }
  if (rest < 0x00800000u) { r = bitcast<u32>(bitcast<f32>(rest + 0x38800000u) - 0x1p-14f); }
  return bitcast<f32>(r | ((h & 0x8000u) << 16u));
}
fn f32_bf16(h: u32) -> f32 { return bitcast<f32>(h << 16u); }
fn f16_f32(x: f32) -> u32 {
  let b = bitcast<u32>(x);
  let size = b & 0x7fffffffu;
  var r = (size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u;
  if (size < 0x38800000u) { r = bitcast<u32>(bitcast<f32>(size) + 0.5f) - 0x3f000000u; }
  if (size >= 0x47800000u) { r = select(0x7c00u, 0x7e00u, size > 0x7f800000u); }
  return r | ((b >> 16u) & 0x8000u);
}
fn bf16_f32(x: f32) -> u32 {
  let b = bitcast<u32>(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) { return (b >> 16u) | 0x40u; }
  return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}
fn odd_u32(x: u32) -> f32 {
  let cut = (x & 0xffffff00u) | select(0u, 0x100u, (x & 0xffu) != 0u);
  return f32(select(x, cut, x >= 0x1000000u));
}
fn odd_i32(x: i32) -> f32 {
  return select(odd_u32(u32(x)), -odd_u32(0u - bitcast<u32>(x)), x < 0i);
}
"""

_DOUBLES = """
fn bits_f64(x: u64) -> f64 { return bitcast<f64>(x); }
fn size_f64(x: f64) -> u64 { return bitcast<u64>(x) & 0x7ffffffffffffffflu; }
fn nan_f64(x: f64) -> bool { return size_f64(x) > 0x7ff0000000000000lu; }
fn ordered_f64(x: f64, y: f64) -> bool { return !(nan_f64(x) || nan_f64(y)); }
fn eq_f64(x: f64, y: f64) -> bool { return x == y && ordered_f64(x, y); }
fn ne_f64(x: f64, y: f64) -> bool { return !eq_f64(x, y); }
fn lt_f64(x: f64, y: f64) -> bool { return x < y && ordered_f64(x, y); }
fn le_f64(x: f64, y: f64) -> bool { return x <= y && ordered_f64(x, y); }
fn true_f64(x: f64) -> bool { return size_f64(x) != 0lu; }
fn copysign_f64(x: f64, y: f64) -> f64 {
  return bitcast<f64>(size_f64(x) | (bitcast<u64>(y) & 0x8000000000000000lu));
}
fn sqrt_f64(x: f64) -> f64 {
  let b = bitcast<u64>(x);
  if ((b & 0x7ffffffffffffffflu) == 0lu || b == 0x7ff0000000000000lu) { return x; }
  if (b > 0x7ff0000000000000lu) { return bits_f64(0x7ff8000000000000lu); }
  return sqrt(x);
}
fn div_f64(x: f64, y: f64) -> f64 {
  let a = size_f64(x);
  let b = size_f64(y);
  if (a - 1lu < 0x7feffffffffffffflu && b - 1lu < 0x7feffffffffffffflu) { return guard_f64(x) / y; }
  let sign = (bitcast<u64>(x) ^ bitcast<u64>(y)) & 0x8000000000000000lu;
  if (a > 0x7ff0000000000000lu || b > 0x7ff0000000000000lu || a == b) {
    return bits_f64(0x7ff8000000000000lu);
  }
  return bitcast<f64>(sign | select(0lu, 0x7ff0000000000000lu, a == 0x7ff0000000000000lu || b == 0lu));
}
fn native_irem_i64(x: i64, y: i64) -> i64 { return x - x / y * y; }
fn wide_i64(x: i64) -> i64 { return x | i64(params[1]); }
fn wide_u64(x: u64) -> u64 { return x | u64(params[1]); }
fn guard_f64(x: f64) -> f64 { return bitcast<f64>(bitcast<u64>(x) ^ u64(params[1])); }
fn fma_f64(x: f64, y: f64, z: f64) -> f64 {
  let p = guard_f64(x * y);
  let s = guard_f64(p + z);
  if (size_f64(s) >= 0x7ff0000000000000lu) {
    let finite = max(size_f64(x), size_f64(y)) < 0x7ff0000000000000lu;
    return select(s, z, finite && size_f64(z) >= 0x7ff0000000000000lu);
  }
  let x1 = bitcast<f64>(bitcast<u64>(x) & 0xfffffffff8000000lu);
  let y1 = bitcast<f64>(bitcast<u64>(y) & 0xfffffffff8000000lu);
  let x0 = x - x1;
  let y0 = y - y1;
  let e = guard_f64(guard_f64(guard_f64(x1 * y1 - p) + x1 * y0) + x0 * y1) + x0 * y0;
  let t = guard_f64(s - p);
  let lost = guard_f64(p - guard_f64(s - t)) + (z - t);
  return s + guard_f64(lost + e);
}
fn frem_f64(x: f64, y: f64) -> f64 {
  let a = size_f64(x);
  let b = size_f64(y);
  if (a >= 0x7ff0000000000000lu || b > 0x7ff0000000000000lu || b == 0lu) {
    return bits_f64(0x7ff8000000000000lu);
  }
  if (a < b) { return x; }
  let e = max(u32(a >> 52u), 1u);
  var last = max(u32(b >> 52u), 1u);
  let hidden = 0x10000000000000lu;
  var m = (a & (hidden - 1lu)) | select(0lu, hidden, a >= hidden);
  let by = (b & (hidden - 1lu)) | select(0lu, hidden, b >= hidden);
  m = m % by;
  for (var k = e; k > last && m != 0lu; k -= 1u) {
    m = m << 1u;
    if (m >= by) { m = m - by; }
  }
  for (; m < hidden && m != 0lu && last > 1u; last -= 1u) { m = m << 1u; }
  let sign = bitcast<u64>(x) & 0x8000000000000000lu;
  return bitcast<f64>(sign | select(m, (m & (hidden - 1lu)) | (u64(last) << 52u), m >= hidden));
}
fn i64_f64(x: f64, low: f64, high: f64, least: i64, most: i64) -> i64 {
  if (nan_f64(x)) { return 0li; }
  if (x <= low) { return least; }
  if (x >= high) { return most; }
  return i64(x);
}
fn u64_f64(x: f64, high: f64, most: u64) -> u64 {
  if (nan_f64(x) || x <= 0.0lf) { return 0lu; }
  if (x >= high) { return most; }
  return u64(x);
}
fn odd_f64(x: f64) -> f32 {
  let size = size_f64(x);
  let near = f32(x);
  let back = f64(near);
  if (back == x || size >= 0x7ff0000000000000lu) { return near; }
  let b = bitcast<u32>(near);
  return bitcast<f32>(select(b, b - 1u, size_f64(back) > size) | 1u);
}
fn odd_u64(x: u64) -> f32 {
  let by = select(0u, 40u, x >= 0x1000000lu);
  if (by == 0u) { return f32(u32(x)); }
  var up = 0u;
  for (var y = x; y < 0x8000000000000000lu; y = y << 1u) { up += 1u; }
  let y = x << up;
  let cut = u32(y >> 40u) | select(0u, 1u, (y & 0xfffffffffflu) != 0lu);
  return f32(cut) * bitcast<f32>((127u + 40u - up) << 23u);
}
fn odd_i64(x: i64) -> f32 {
  return select(odd_u64(bitcast<u64>(x)), -odd_u64(0lu - bitcast<u64>(x)), x < 0li);
}
"""

_PAIRS = """
fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
fn sub64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}
fn wide_mul(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let mid = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (mid & 0xffffu);
  return vec2<u32>(a * b, (a >> 16u) * (b >> 16u) + (mid >> 16u) + (other >> 16u));
}
fn mul64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let p = wide_mul(a.x, b.x);
  return vec2<u32>(p.x, p.y + a.x * b.y + a.y * b.x);
}
fn shl64(a: vec2<u32>, n: u32) -> vec2<u32> {
  if (n == 0u) { return a; }
  if (n >= 32u) { return vec2<u32>(0u, a.x << (n - 32u)); }
  return vec2<u32>(a.x << n, (a.y << n) | (a.x >> (32u - n)));
}
fn shr_u64(a: vec2<u32>, n: u32) -> vec2<u32> {
  if (n == 0u) { return a; }
  if (n >= 32u) { return vec2<u32>(a.y >> (n - 32u), 0u); }
  return vec2<u32>((a.x >> n) | (a.y << (32u - n)), a.y >> n);
}
fn shr_i64(a: vec2<u32>, n: u32) -> vec2<u32> {
  let sign = select(0u, 0xffffffffu, a.y >= 0x80000000u);
  let r = shr_u64(vec2<u32>(a.x ^ sign, a.y ^ sign), n);
  return vec2<u32>(r.x ^ sign, r.y ^ sign);
}
fn eq64(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x == b.x && a.y == b.y; }
fn lt_u64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}
fn lt_i64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return lt_u64(vec2<u32>(a.x, a.y ^ 0x80000000u), vec2<u32>(b.x, b.y ^ 0x80000000u));
}
fn neg64(a: vec2<u32>) -> vec2<u32> { return sub64(vec2<u32>(0u, 0u), a); }
fn size64(a: vec2<u32>) -> vec2<u32> { return select(a, neg64(a), a.y >= 0x80000000u); }
fn divmod64(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
  var q = vec2<u32>(0u, 0u);
  var r = vec2<u32>(0u, 0u);
  for (var k = 64u; k > 0u; k -= 1u) {
    let carry = r.y >= 0x80000000u;
    r = shl64(r, 1u);
    r.x = r.x | (shr_u64(a, k - 1u).x & 1u);
    q = shl64(q, 1u);
    if (carry || !lt_u64(r, b)) {
      r = sub64(r, b);
      q.x = q.x | 1u;
    }
  }
  return vec4<u32>(q, r);
}
fn idiv_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { return divmod64(a, b).xy; }
fn irem_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { return divmod64(a, b).zw; }
fn idiv_i64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let q = divmod64(size64(a), size64(b)).xy;
  return select(q, neg64(q), ((a.y ^ b.y) & 0x80000000u) != 0u);
}
fn irem_i64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let r = divmod64(size64(a), size64(b)).zw;
  return select(r, neg64(r), a.y >= 0x80000000u);
}
fn pair_i32(x: i32) -> vec2<u32> { return vec2<u32>(bitcast<u32>(x), select(0u, 0xffffffffu, x < 0i)); }
fn pair_u32(x: u32) -> vec2<u32> { return vec2<u32>(x, 0u); }
fn single_u64(a: vec2<u32>, odd: bool) -> f32 {
  if (a.y == 0u) { return select(f32(a.x), odd_u32(a.x), odd); }
  let up = countLeadingZeros(a.y);
  let y = shl64(a, up);
  let top = y.y | select(0u, 1u, y.x != 0u);
  return select(f32(top), odd_u32(top), odd) * bitcast<f32>((159u - up) << 23u);
}
fn single_i64(a: vec2<u32>, odd: bool) -> f32 {
  let r = single_u64(size64(a), odd);
  return select(r, -r, a.y >= 0x80000000u);
}
fn size_f32(x: f32) -> vec2<u32> {
  let b = bitcast<u32>(x) & 0x7fffffffu;
  if (b < 0x3f800000u) { return vec2<u32>(0u, 0u); }
  let e = (b >> 23u) - 127u;
  let m = (b & 0x7fffffu) | 0x800000u;
  if (e <= 23u) { return vec2<u32>(m >> (23u - e), 0u); }
  return shl64(vec2<u32>(m, 0u), e - 23u);
}
fn u64_f32(x: f32) -> vec2<u32> {
  let b = bitcast<u32>(x);
  if (b > 0x7f800000u) { return vec2<u32>(0u, 0u); }
  if (b >= 0x5f800000u) { return vec2<u32>(0xffffffffu, 0xffffffffu); }
  return size_f32(x);
}
fn i64_f32(x: f32) -> vec2<u32> {
  let b = bitcast<u32>(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) { return vec2<u32>(0u, 0u); }
  if ((b & 0x7fffffffu) >= 0x5f000000u) {
    return select(vec2<u32>(0xffffffffu, 0x7fffffffu), vec2<u32>(0u, 0x80000000u), b >= 0x80000000u);
  }
  let r = size_f32(x);
  return select(r, neg64(r), b >= 0x80000000u);
}
fn native_i64_f32(x: f32) -> i64 {
  let a = i64_f32(x);
  return bitcast<i64>(u64(a.x) | (u64(a.y) << 32u));
}
fn native_u64_f32(x: f32) -> u64 {
  let a = u64_f32(x);
  return u64(a.x) | (u64(a.y) << 32u);
}
fn pair_native(x: u64) -> vec2<u32> { return vec2<u32>(u32(x), u32(x >> 32u)); }
"""


def _parsed(text: str) -> dict[str, str]:
    """The functions of a text by name; each starts at `fn` in the first column."""
    parts = re.split(r"\n(?=fn )", text.strip())
    return {re.match(r"fn (\w+)", part).group(1): part for part in parts}


LIBRARY = _parsed(_FLOATS) | _parsed(_HALVES) | _parsed(_DOUBLES) | _parsed(_PAIRS)
_CALLED = {
    name: [f for f in re.findall(r"\b(\w+)\(", text.split("{", 1)[1]) if f in LIBRARY]
    for name, text in LIBRARY.items()
}


def closure(texts: Iterable[str]) -> list[str]:
    """The library functions that these texts call, and those that they call, in a fixed order."""
    wanted: set[str] = set()
    todo = [f for text in texts for f in re.findall(r"\b(\w+)\(", text) if f in LIBRARY]
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += _CALLED[name]
    return [LIBRARY[name] for name in LIBRARY if name in wanted]
