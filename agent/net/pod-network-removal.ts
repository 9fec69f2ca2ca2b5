import * as v from 'valibot';
import { rulesFor } from './firewall.ts';
import { parseRoutes, routeProtocol } from './peer-routes.ts';
import { Kept, networkNames } from './pod-network.ts';
import { runCommand, type RunCommand } from './run-command.ts';

export interface PodNetworkRemoval {
  /** The agent's data directory. */
  readonly owner: string;
  /** The note that {@link Kept} describes; nothing but the engine's network is looked for without it. */
  readonly kept: unknown;
  readonly engine: {
    /** Removes the network of that name if it is that owner's. @returns whether it was there. @throws RuntimeError when it cannot be removed */
    removeNetwork(name: string, owner: string): Promise<boolean>;
  };
  readonly run?: RunCommand;
}

/**
 * Takes away what a pod network that is no longer used has left on the host: the engine's network, routes to the
 * neighbours' pods, and rules of the packet filter. What somebody else made stays.
 * @returns what was removed, for people
 * @throws Error when the network or a route cannot be removed; what was done stays
 */
export async function removePodNetwork({ owner, kept, engine, run = runCommand }: PodNetworkRemoval): Promise<string[]> {
  const { name } = networkNames(owner);
  const removed = await engine.removeNetwork(name, owner) ? [`the network ${name}`] : [];
  const known = v.safeParse(Kept, kept);
  if (!known.success) return removed;
  const { peers, clusterCIDR, podCIDR } = known.output;
  return [...removed, ...await removeRoutes(peers, run), ...await removeRules(clusterCIDR, podCIDR, run)];
}

/** Those that the agent made, to pods of the nodes that it knew: another agent of this host may have others. */
async function removeRoutes(peers: Kept['peers'], run: RunCommand): Promise<string[]> {
  if (peers.length === 0) return [];
  const mine = new Map(peers.map(([, via, to]) => [to, via]));
  const routes = parseRoutes(await run('ip', ['-4', 'route', 'show'])).filter(({ to, via, own }) => own && mine.get(to) === via);
  for (const { to, via } of routes) await run('ip', ['-4', 'route', 'del', to, 'via', via, 'proto', routeProtocol]);
  return routes.map(({ to, via }) => `the route to ${to} via ${via}`);
}

/** Where there is no iptables, or no such chain, there is no rule either. */
async function removeRules(clusterCIDR: string, podCIDR: string, run: RunCommand): Promise<string[]> {
  const removed: string[] = [];
  for (const { table, chain, match } of rulesFor(clusterCIDR, podCIDR)) {
    const gone = await run('iptables', ['-w', '10', '-t', table, '-D', chain, ...match]).then(() => true, () => false);
    if (gone) removed.push(`the rule ${chain} ${match.join(' ')}`);
  }
  return removed;
}
