"""Programs that acceptance.py runs in a new Python. Each prints a JSON object last."""

LONG_CHAIN = """
import json, time, numpy as np, random, charl as ch
def chain(x, seed, ops=32, hard=8):
    pick = random.Random(seed)
    kinds = ["exp", "sin", "tanh", "log1p"]
    where = set(pick.sample(range(ops), hard))
    y = x
    for i in range(ops):
        if i in where:
            y = getattr(ch, pick.choice(kinds))(y)
        else:
            y = pick.choice([lambda v: v + 0.25, lambda v: v * 0.5, lambda v: v - x, ch.abs])(y)
    return y
x = ch.asarray(np.linspace(0, 1, 1000, dtype=np.float32))
ch.eval(ch.exp(x) + 1.0); ch.wait_compiled()
first, ready = [], []
for seed in range(SEEDS):
    before = ch.cache_info()
    start = time.perf_counter()
    ch.eval(chain(x, seed))
    first.append(time.perf_counter() - start)
    ch.wait_compiled()
    ready.append(time.perf_counter() - start)
info = ch.cache_info()
first.sort(); ready.sort()
print(json.dumps({"first": first[len(first)//2], "worst": first[-1], "ready": ready[len(ready)//2],
                  "compiles": info["compiles"], "disk_hits": info["disk_hits"]}))
"""

COMPILES = """
import json, random, numpy as np, charl as ch
def softmax(x):
    e = ch.exp(x - ch.max(x, axis=1, keepdims=True))
    return e / ch.sum(e, axis=1, keepdims=True)
pick = random.Random(5)
found = {}
def shapes(axes):
    # each axis in turn draws evenly from 2...2000, without repeats; the others mostly less
    for i, extent in enumerate(pick.sample(range(2, 2001), 1000)):
        shape = [round(2 * 1000 ** pick.random()) for _ in range(axes)]
        shape[i % axes] = extent
        yield shape
def real(*shape):
    return ch.asarray(np.ones(shape, np.float32))
for name in ("broadcast", "softmax", "matmul"):
    before = ch.cache_info()["compiles"]
    for m, n, *k in shapes(3 if name == "matmul" else 2):
        if name == "broadcast":
            a, b = real(m, 1), real(1, n)
            ch.eval((a + b) * 2.0 - a)
        elif name == "softmax":
            ch.eval(softmax(real(m, n)))
        else:
            ch.eval(real(m, k[0]) @ real(k[0], n))
    ch.wait_compiled()
    found[name] = ch.cache_info()["compiles"] - before
print(json.dumps(found))
"""

MILLION = """
import json, time, resource, numpy as np, charl as ch
x = ch.asarray(np.linspace(0, 1, 10))
start = time.perf_counter()
for i in range(1_000_000):
    x = x * 0.999 + 0.001
    if i == 200_000:
        early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
good = bool(np.allclose(x.numpy(), 1.0))
late = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "grown": (late - early) / 1024, "good": good}))
"""

DROPPED = """
import json, time, numpy as np, charl as ch
ch.config.pending_nodes = 10_000_000
ch.config.pending_bytes = 1 << 60
x = ch.asarray(np.zeros(2))
for _ in range(1_000_000):
    x = x + 1.0
start = time.perf_counter()
del x
print(json.dumps({"seconds": time.perf_counter() - start}))
"""

BODY = """
import json, numpy as np, charl as ch
x = ch.asarray(np.linspace(0, 1, 100)); v = x * 0.0
def body(x, v):
    f = (1.0 - x) * 0.3
    v = (v + f * 0.01) * 0.999
    return x + v * 0.01, v
for _ in range(2000):
    x, v = body(x, v)
before = ch.cache_info()
for _ in range(1000):
    x, v = body(x, v)
info = ch.cache_info()
ch.eval(x, v); ch.wait_compiled()
misses = info["plan_misses"] - before["plan_misses"]
print(json.dumps({"compiles": ch.cache_info()["compiles"], "misses": misses}))
"""

CONSTANT = """
import json, numpy as np, charl as ch
x = ch.asarray(np.linspace(0, 1, 100))
counts = []
for _ in range(1000):
    x = x * 0.999 + 0.001
    before = ch.cache_info()["launches"]
    float(ch.sum(x))
    counts.append(ch.cache_info()["launches"] - before)
print(json.dumps({"spread": max(counts[2:]) - min(counts[2:]), "last": counts[-1]}))
"""

KERNELS = """
import json, random, resource, numpy as np, charl as ch
names = ["add", "subtract", "multiply", "maximum", "minimum", "hypot", "copysign", "atan2"]
x = ch.asarray(np.linspace(0, 1, 16)); seen = []
for i in range(20_000):
    y, k = x, i
    for _ in range(5):
        y = getattr(ch, names[k % 8])(y, x if k % 3 else 0.5); k //= 8
    ch.eval(ch.exp(y) if i & 1 else y)
    if i % 1000 == 999:
        ch.wait_compiled()
        with open("/proc/self/statm") as file:
            seen.append(int(file.read().split()[1]) * 4096 / 2**20)
print(json.dumps({"rss": seen}))
"""
