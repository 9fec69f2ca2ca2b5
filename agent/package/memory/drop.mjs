import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import bytes from 'wherry:pages';

/** Some hosts allow no program in some of these; the folder that this program itself lies in allows them. */
const places = () => ['/dev/shm', tmpdir(), '/var/tmp', '/run', dirname(process.execPath)];

/** An addon can only be loaded from a file, which is needed no longer than that. */
function loadFrom(place) {
  const folder = mkdtempSync(join(place, 'wherry-agent-'));
  try {
    const path = join(folder, 'pages.node');
    writeFileSync(path, bytes, { mode: 0o500 });
    const module = { exports: {} };
    process.dlopen(module, path);
    return module.exports.drop;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function load() {
  for (const place of bytes.length > 0 ? places() : []) {
    try {
      const drop = loadFrom(place);
      drop();
      return drop;
    } catch {
      // The next place may do. Without any, the agent is as it would be without the addon.
    }
  }
  return undefined;
}

const startMs = 8000;
const startStepMs = 1000;
const stepMs = 5000;
/**
 * Growth since the last time that makes another one worth its cost, about 10 ms with reading again what is in use.
 * While the program starts all of it is used once, and the peak counts; an idle agent uses 5 MB of it now and then.
 */
const startGrowthBytes = 2_000_000;
const growthBytes = 6_000_000;
/** Share of one core: a program that works needs its pages. */
const busyShare = 0.25;

/** Drops pages (pages.c says which, and why that is safe) when memory has grown and, after the start, there is little to do. */
class Dropper {
  #drop;
  /** The least since the last time. */
  #settled = process.memoryUsage.rss();
  #cpu = process.cpuUsage();
  #sinceMs = performance.now();

  constructor(drop) {
    this.#drop = drop;
  }

  run() {
    const starting = setInterval(() => this.#unlessSmall(startGrowthBytes), startStepMs).unref();
    setTimeout(() => { clearInterval(starting); setInterval(() => this.#unlessBusy(), stepMs).unref(); }, startMs).unref();
  }

  #unlessBusy() {
    const [cpu, nowMs] = [process.cpuUsage(), performance.now()];
    const share = (cpu.user + cpu.system - this.#cpu.user - this.#cpu.system) / 1000 / (nowMs - this.#sinceMs);
    this.#cpu = cpu;
    this.#sinceMs = nowMs;
    if (share < busyShare) this.#unlessSmall(growthBytes);
  }

  #unlessSmall(growth) {
    const now = process.memoryUsage.rss();
    if (now >= this.#settled + growth) this.#drop();
    // Garbage collections make it smaller too.
    this.#settled = now >= this.#settled + growth ? process.memoryUsage.rss() : Math.min(this.#settled, now);
  }
}

/** To compare with, or to tell whether some trouble comes from here. */
const isOff = (process.env.WHERRY_KEEP_PAGES ?? '') !== '';

const drop = isOff ? undefined : load();
if (drop) new Dropper(drop).run();
