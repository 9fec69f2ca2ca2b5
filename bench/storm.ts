import { usage } from './cluster.ts';
import { Fleet, memoryOf, nowMs, pause, seededMaster, sizes, type FleetMaster } from './fleet/fleet.ts';
import { nodeName } from './fleet/reports.ts';
import { changeService } from './fleet.ts';
import { note, quantile, report } from './report.ts';

/**
 * The master is killed with -9 under a connected fleet and started again: how long until every agent is back and holds
 * a change that was made right after the start, and what the API is like meanwhile. `AGENTS=1000` for a quick run.
 */
export async function bench(): Promise<void> {
  const master = await seededMaster();
  const fleet = new Fleet(sizes.agents, sizes.loaders);
  try {
    await master.start();
    fleet.start(master, sizes.perSecond);
    await fleet.untilQuiet();
    await pause(35_000);
    await storm(fleet, master);
  } finally {
    fleet.stop();
    await master.remove();
  }
}

async function storm(fleet: Fleet, master: FleetMaster): Promise<void> {
  await master.kill();
  const startedMs = await master.start();
  const readyMs = nowMs() - startedMs;
  const cpu = { ready: usage(master.pid).cpuSeconds, agents: fleet.cpuSeconds };
  const api = master.api();
  const reads = new Reads(master);
  const revision = await changeService(api, 1);
  const heldMs = await fleet.hold(revision);
  const convergedMs = Math.max(...heldMs) - startedMs;
  await reads.stop();
  const back = (await fleet.stats()).welcomedMs.map((ms) => ms - startedMs);
  note(`ready after ${(readyMs / 1000).toFixed(1)} s; agents back: half after ${(quantile(back, 0.5) / 1000).toFixed(1)} s, 90 % ${(quantile(back, 0.9) / 1000).toFixed(1)} s, 99 % ${(quantile(back, 0.99) / 1000).toFixed(1)} s, last ${(Math.max(...back) / 1000).toFixed(1)} s; master CPU ${cpu.ready.toFixed(1)} s until ready, ${(usage(master.pid).cpuSeconds - cpu.ready).toFixed(1)} s after; the agents' ${(fleet.cpuSeconds - cpu.agents).toFixed(1)} s`);
  report('storm.converged', convergedMs / 1000, `s from the killed master's restart until all of ${fleet.count} agents hold what changed after it`);
  report('storm.api_p99', quantile(reads.kept, 0.99), `ms of ${reads.kept.length} API reads over one connection during the storm`);
  report('storm.api_new_p99', quantile(reads.fresh, 0.99), `ms of ${reads.fresh.length} API reads, each over a connection of its own`);
  report('storm.fairness', Math.max(...back) / quantile(back, 0.5), 'time until the last agent is back over the time until half are');
  const { peak, own } = memoryOf(master.pid);
  report('storm.memory_peak', peak / fleet.count, 'KB of master memory per agent, the most, everything resident');
  report('storm.memory', own / fleet.count, 'KB of master memory per agent afterwards, without the mapped pages of the store');
  api.close();
}

/** Reads of single objects, one after the other, until stopped. */
class Reads {
  readonly kept: number[] = [];
  readonly fresh: number[] = [];
  readonly #master: FleetMaster;
  readonly #done: Promise<unknown>;
  #stopped = false;

  constructor(master: FleetMaster) {
    this.#master = master;
    this.#done = Promise.all([this.#overOne(), this.#overNew()]);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #overOne(): Promise<void> {
    const api = this.#master.api();
    for (let turn = 0; !this.#stopped; turn++) {
      const began = nowMs();
      await api.send('GET', `/api/v1/nodes/${nodeName((turn * 31) % sizes.agents)}`);
      this.kept.push(nowMs() - began);
      await pause(20);
    }
    api.close();
  }

  async #overNew(): Promise<void> {
    for (let turn = 0; !this.#stopped; turn++) {
      const api = this.#master.api();
      const began = nowMs();
      await api.send('GET', `/api/v1/namespaces/default/pods/pod-${(turn * 37) % sizes.agents}-0`);
      this.fresh.push(nowMs() - began);
      api.close();
      await pause(100);
    }
  }
}
