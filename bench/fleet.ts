import { usage } from './cluster.ts';
import type { Api } from './fleet/api.ts';
import { Fleet, memoryOf, nowMs, pause, seededMaster, size, sizes, type FleetMaster } from './fleet/fleet.ts';
import { nodeName } from './fleet/reports.ts';
import { podDocument } from './fleet/seed.ts';
import { median, note, quantile, report } from './report.ts';

/**
 * A fleet on one master: real sessions over TLS WebSockets from other processes, nodes with their pods, services,
 * statuses, leases and heartbeats. `AGENTS=1000 npm run bench -- fleet` takes less than a minute.
 */
const idleSeconds = size('IDLE_SECONDS', 30);
const changes = size('CHANGES', 20);
const binds = size('BINDS', 200);

export async function bench(): Promise<void> {
  const master = await seededMaster();
  const fleet = new Fleet(sizes.agents, sizes.loaders);
  try {
    await master.start();
    await pause(1000);
    const before = memoryOf(master.pid);
    note(`master before any agent: ${before.own >> 10} MB of its own, ${before.all >> 10} MB with the store's pages`);
    await connect(fleet, master);
    await measure(fleet, master, before);
  } finally {
    fleet.stop();
    await master.remove();
  }
}

async function connect(fleet: Fleet, master: FleetMaster): Promise<void> {
  const [began, cpu] = [nowMs(), usage(master.pid).cpuSeconds];
  fleet.start(master, sizes.perSecond);
  await fleet.untilQuiet();
  const seconds = (nowMs() - began) / 1000;
  note(`all connected, snapshots held and statuses written after ${seconds.toFixed(1)} s; the master took ${(usage(master.pid).cpuSeconds - cpu).toFixed(1)} s of CPU`);
  await pause(5000);
}

async function measure(fleet: Fleet, master: FleetMaster, before: ReturnType<typeof memoryOf>): Promise<void> {
  const api = master.api();
  const cpuPercent = await idle(master);
  const { connected } = await fleet.stats();
  report('fleet.agents', connected, `agents held with ${sizes.pods} pods each`);
  const after = memoryOf(master.pid);
  report('fleet.memory', (after.own - before.own) / connected, 'KB of master memory per agent, that the connections add; without the mapped pages of the store');
  report('fleet.memory_all', after.all / connected, 'KB of master memory per agent, everything resident');
  report('fleet.memory_peak', after.peak / connected, 'KB of master memory per agent, the most while all connected for the first time');
  report('fleet.idle_cpu', cpuPercent, `% of a core over ${idleSeconds} s`);
  await serviceChanges(fleet, master, api);
  await podBinds(fleet, api);
  api.close();
}

async function idle(master: FleetMaster): Promise<number> {
  const [cpu, began] = [usage(master.pid).cpuSeconds, nowMs()];
  await pause(idleSeconds * 1000);
  return (usage(master.pid).cpuSeconds - cpu) / ((nowMs() - began) / 1000) * 100;
}

/** From the write to the acknowledgement of every agent, one change after the other. */
async function serviceChanges(fleet: Fleet, master: FleetMaster, api: Api): Promise<void> {
  const [last, all]: [number[], number[]] = [[], []];
  const cpu = { master: usage(master.pid).cpuSeconds, agents: fleet.cpuSeconds };
  for (let change = 0; change < changes; change++) {
    const began = nowMs();
    const heldMs = await fleet.hold(await changeService(api, change));
    for (const ms of heldMs) all.push(ms - began);
    last.push(Math.max(...heldMs) - began);
    await pause(200);
  }
  note(`service change: agents p50 ${quantile(all, 0.5).toFixed(0)} ms, p99 ${quantile(all, 0.99).toFixed(0)} ms; the last of them p50 ${median(last).toFixed(0)} ms, most ${Math.max(...last).toFixed(0)} ms; CPU of each change: master ${((usage(master.pid).cpuSeconds - cpu.master) / changes * 1000).toFixed(0)} ms, agents ${((fleet.cpuSeconds - cpu.agents) / changes * 1000).toFixed(0)} ms`);
  report('fleet.service_change', quantile(last, 0.99), `ms p99 of ${changes} from the write to the last agent's ack`);
}

/** Gives a service other ports; returns the revision of the change. */
export async function changeService(api: Api, change: number, services = sizes.services): Promise<number> {
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }, { name: 'more', port: 81 + change }];
  const service = await api.send<{ metadata: { resourceVersion: string } }>('PATCH', `/api/v1/namespaces/default/services/web-${change % services}`, { spec: { ports } });
  return Number(service.metadata.resourceVersion);
}

/** From the request that binds a pod to its agent holding it. */
async function podBinds(fleet: Fleet, api: Api): Promise<void> {
  const began = new Map<string, number>();
  for (let bind = 0; bind < binds; bind++) {
    const name = `bind-${bind}-0`;
    await api.send('POST', '/api/v1/namespaces/default/pods', podDocument(name));
    began.set(name, nowMs());
    await api.send('POST', `/api/v1/namespaces/default/pods/${name}/binding`, { metadata: { name }, target: { kind: 'Node', name: nodeName((bind * 7919) % sizes.agents) } });
    await pause(20);
  }
  await pause(2000);
  const held = await fleet.podsHeld('bind-');
  const ms = [...began].map(([name, at]) => (held.get(name) ?? Infinity) - at);
  report('fleet.bind_ack', quantile(ms, 0.99), `ms p99 of ${binds} from binding a pod to its agent's ack; median ${median(ms).toFixed(1)}`);
}
