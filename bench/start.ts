import { usage } from './cluster.ts';
import { memoryOf, nowMs, pause, seededMaster, type FleetMaster } from './fleet/fleet.ts';
import { note, report } from './report.ts';

/**
 * A master's start on a store of many pods, without a single agent: what it takes until all who follow the store have
 * read it, and have done what they found to do. `AGENTS=2000 npm run bench -- start` for a quick run.
 */
const options = ['--node-monitor-grace-period', '36000'];

export async function bench(): Promise<void> {
  const master = await seededMaster();
  try {
    // The first one makes what every cluster starts with.
    await master.start(options);
    await untilQuiet(master);
    await master.kill();
    const startedMs = await master.start(options);
    const ready = { ms: nowMs() - startedMs, cpu: usage(master.pid).cpuSeconds };
    const cpu = await untilQuiet(master);
    note(`ready after ${(ready.ms / 1000).toFixed(1)} s`);
    report('start.ready_cpu', ready.cpu, 's of CPU until the API says that the master is ready');
    report('start.cpu', cpu, 's of CPU until nothing is left to do');
    report('start.memory', memoryOf(master.pid).own / 1024, 'MB afterwards, without the mapped pages of the store');
  } finally {
    await master.remove();
  }
}

/** Waits until a master has little to do; returns the CPU that it had taken when it became so, in seconds. */
async function untilQuiet(master: FleetMaster): Promise<number> {
  for (let before = usage(master.pid).cpuSeconds, looks = 200; ; looks--) {
    await pause(1500);
    const now = usage(master.pid).cpuSeconds;
    if (now - before < 0.1) return before;
    if (looks === 0) throw new Error('the master is at work for five minutes');
    before = now;
  }
}
