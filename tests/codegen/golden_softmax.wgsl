fn bits_f32(x: u32) -> f32 { return bitcast<f32>(x); }
fn nan_f32(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn ordered_f32(x: f32, y: f32) -> bool { return !(nan_f32(x) || nan_f32(y)); }
fn eq_f32(x: f32, y: f32) -> bool { return x == y && ordered_f32(x, y); }
fn ne_f32(x: f32, y: f32) -> bool { return !eq_f32(x, y); }
fn lt_f32(x: f32, y: f32) -> bool { return x < y && ordered_f32(x, y); }
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
fn op_maximum_f32(v0: f32, v1: f32) -> f32 {
  let v2 = lt_f32(v0, v1);
  let v3 = select(v0, v1, v2);
  let v4 = ne_f32(v1, v1);
  let v5 = select(v3, v1, v4);
  return v5;
}
fn op_exp_f32(v0: f32) -> f32 {
  let v2 = lt_f32(88.83200073242188f, v0);
  let v3 = select(v0, 88.83200073242188f, v2);
  let v5 = lt_f32(v3, (-104.79399871826172f));
  let v6 = select(v3, (-104.79399871826172f), v5);
  let v9 = guard_f32(fma(v6, 1.4426950216293335f, 12582912.0f));
  let v10 = (v9 - 12582912.0f);
  let v12 = fma_f32(v10, (-0.6931471824645996f), v6);
  let v14 = (v10 * (-1.9046542121259336e-09f));
  let v15 = (v12 - v14);
  let v16 = bitcast<u32>(v9);
  let c17 = 12582912.0f;
  let v17 = bitcast<u32>(c17);
  let v18 = (v16 - v17);
  let v19 = (v15 * v15);
  let v22 = fma(0.0001973936305148527f, v15, 0.0013935078168287873f);
  let v24 = fma(v22, v15, 0.008333571255207062f);
  let v26 = fma(v24, v15, 0.041666463017463684f);
  let v28 = fma(v26, v15, 0.1666666567325592f);
  let v30 = fma(v28, v15, 0.5f);
  let v31 = fma(v19, v30, v15);
  let v33 = (v31 + 1.0f);
  let v35 = (v18 + 8192u);
  let v37 = (v35 >> 1u);
  let v39 = (v37 - 4096u);
  let v41 = (v39 << 23u);
  let v43 = (v41 + 1065353216u);
  let v44 = bitcast<f32>(v43);
  let v45 = (v33 * v44);
  let v46 = (v35 - v37);
  let v47 = (v46 - 4096u);
  let v48 = (v47 << 23u);
  let v49 = (v48 + 1065353216u);
  let v50 = bitcast<f32>(v49);
  let v51 = (v45 * v50);
  return v51;
}
@group(0) @binding(0) var<storage, read> params: array<u32>;
@group(0) @binding(1) var<storage, read> a0: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> a1: array<vec4<f32>>;
fn store_a1(i: u32, v: f32) { a1[i >> 2u][i & 3u] = v; }
var<workgroup> cells_f32: array<f32, 256>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) many: vec3<u32>,
        @builtin(num_subgroups) subgroups: u32, @builtin(subgroup_size) size: u32,
        @builtin(subgroup_invocation_id) within: u32,
        @builtin(local_invocation_id) lid: vec3<u32>) {
  let group = wid.y * many.x + wid.x;
  if (group >= params[0]) { return; }
  let at = lid.x;
  var row0: array<vec4<u32>, 2>;
  let lane = at % 8u;
  let own = group * 32u + at / 8u;
  let on = own < params[4u];
  let row = min(own, params[4u] - 1u);
  let i0 = row;
  let start = 0u;
  let end = params[2u];
  let stop = select(0u, end, on);
  let width = select(1u, min(size, 8u), subgroups * size == 256u);
  var t1: f32 = bits_f32(0xff800000u);
  {
    let j = 4u * lane + 32u * 0u;
    if (j < stop) {
      let j1 = j + 1u;
      let j2 = j + 2u;
      let j3 = j + 3u;
      let v0q = a0[(params[2u] * i0 + j) >> 2u];
      row0[0u] = vec4<u32>(bitcast<u32>(v0q.x), bitcast<u32>(v0q.y), bitcast<u32>(v0q.z), bitcast<u32>(v0q.w));
      t1 = op_maximum_f32(t1, v0q.x);
      t1 = op_maximum_f32(t1, v0q.y);
      t1 = op_maximum_f32(t1, v0q.z);
      t1 = op_maximum_f32(t1, v0q.w);
    }
  }
  {
    let j = 4u * lane + 32u * 1u;
    if (j < stop) {
      let j1 = j + 1u;
      let j2 = j + 2u;
      let j3 = j + 3u;
      let v0q = a0[(params[2u] * i0 + j) >> 2u];
      row0[1u] = vec4<u32>(bitcast<u32>(v0q.x), bitcast<u32>(v0q.y), bitcast<u32>(v0q.z), bitcast<u32>(v0q.w));
      t1 = op_maximum_f32(t1, v0q.x);
      t1 = op_maximum_f32(t1, v0q.y);
      t1 = op_maximum_f32(t1, v0q.z);
      t1 = op_maximum_f32(t1, v0q.w);
    }
  }
  for (var h = 1u; h < width; h <<= 1u) { t1 = op_maximum_f32(t1, subgroupShuffleXor(t1, h)); }
  t1 = subgroupShuffle(t1, within & ~(width - 1u));
  if (width < 8u) {
    cells_f32[at] = t1;
    workgroupBarrier();
    for (var h = width; h < 8u; h <<= 1u) {
      if ((lane & (2u * h - 1u)) == 0u) { cells_f32[at] = op_maximum_f32(cells_f32[at], cells_f32[at + h]); }
      workgroupBarrier();
    }
    t1 = cells_f32[at - lane];
    workgroupBarrier();
  }
  var t6: f32 = bits_f32(0x80000000u);
  {
    let j = 4u * lane + 32u * 0u;
    if (j < stop) {
      let j1 = j + 1u;
      let j2 = j + 2u;
      let j3 = j + 3u;
      let w2 = row0[0u];
      let v0_3 = (bitcast<f32>(w2.x) - t1);
      let v1_3 = (bitcast<f32>(w2.y) - t1);
      let v2_3 = (bitcast<f32>(w2.z) - t1);
      let v3_3 = (bitcast<f32>(w2.w) - t1);
      let v0_4 = op_exp_f32(v0_3);
      let v1_4 = op_exp_f32(v1_3);
      let v2_4 = op_exp_f32(v2_3);
      let v3_4 = op_exp_f32(v3_3);
      row0[0u] = vec4<u32>(bitcast<u32>(v0_4), bitcast<u32>(v1_4), bitcast<u32>(v2_4), bitcast<u32>(v3_4));
      t6 = (t6 + v0_4);
      t6 = (t6 + v1_4);
      t6 = (t6 + v2_4);
      t6 = (t6 + v3_4);
    }
  }
  {
    let j = 4u * lane + 32u * 1u;
    if (j < stop) {
      let j1 = j + 1u;
      let j2 = j + 2u;
      let j3 = j + 3u;
      let w2 = row0[1u];
      let v0_3 = (bitcast<f32>(w2.x) - t1);
      let v1_3 = (bitcast<f32>(w2.y) - t1);
      let v2_3 = (bitcast<f32>(w2.z) - t1);
      let v3_3 = (bitcast<f32>(w2.w) - t1);
      let v0_4 = op_exp_f32(v0_3);
      let v1_4 = op_exp_f32(v1_3);
      let v2_4 = op_exp_f32(v2_3);
      let v3_4 = op_exp_f32(v3_3);
      row0[1u] = vec4<u32>(bitcast<u32>(v0_4), bitcast<u32>(v1_4), bitcast<u32>(v2_4), bitcast<u32>(v3_4));
      t6 = (t6 + v0_4);
      t6 = (t6 + v1_4);
      t6 = (t6 + v2_4);
      t6 = (t6 + v3_4);
    }
  }
  for (var h = 1u; h < width; h <<= 1u) { t6 = (t6 + subgroupShuffleXor(t6, h)); }
  t6 = subgroupShuffle(t6, within & ~(width - 1u));
  if (width < 8u) {
    cells_f32[at] = t6;
    workgroupBarrier();
    for (var h = width; h < 8u; h <<= 1u) {
      if ((lane & (2u * h - 1u)) == 0u) { cells_f32[at] = (cells_f32[at] + cells_f32[at + h]); }
      workgroupBarrier();
    }
    t6 = cells_f32[at - lane];
    workgroupBarrier();
  }
  {
    let j = 4u * lane + 32u * 0u;
    if (j < stop) {
      let j1 = j + 1u;
      let j2 = j + 2u;
      let j3 = j + 3u;
      let w7 = row0[0u];
      let v0_8 = div_f32(bitcast<f32>(w7.x), t6);
      let v1_8 = div_f32(bitcast<f32>(w7.y), t6);
      let v2_8 = div_f32(bitcast<f32>(w7.z), t6);
      let v3_8 = div_f32(bitcast<f32>(w7.w), t6);
      a1[(params[2u] * i0 + j) >> 2u] = vec4<f32>(v0_8, v1_8, v2_8, v3_8);
    }
  }
  {
    let j = 4u * lane + 32u * 1u;
    if (j < stop) {
      let j1 = j + 1u;
      let j2 = j + 2u;
      let j3 = j + 3u;
      let w7 = row0[1u];
      let v0_8 = div_f32(bitcast<f32>(w7.x), t6);
      let v1_8 = div_f32(bitcast<f32>(w7.y), t6);
      let v2_8 = div_f32(bitcast<f32>(w7.z), t6);
      let v3_8 = div_f32(bitcast<f32>(w7.w), t6);
      a1[(params[2u] * i0 + j) >> 2u] = vec4<f32>(v0_8, v1_8, v2_8, v3_8);
    }
  }
}
