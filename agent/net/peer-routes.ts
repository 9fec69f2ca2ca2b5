import { networkTest, type Peer } from '../../shared/peers.ts';

/** Number by which the kernel remembers whose a route is (`ip route … proto 87`). */
export const routeProtocol = '87';

/** A line of `ip -4 route show`. */
export interface Route { readonly to: string; readonly via: string; readonly own: boolean }

export interface RouteInput {
  readonly nodeName: string;
  readonly nodeIP: string;
  /** Networks that this host shares with others: only their hosts can be the next hop. */
  readonly networks: readonly string[];
  /** This node's own pods. */
  readonly podCIDR: string;
  /** All pods of the cluster: nothing else is ever routed. */
  readonly clusterCIDR: string;
  readonly peers: readonly Peer[];
  readonly routes: readonly Route[];
}

export interface RoutePlan { readonly set: readonly { readonly to: string; readonly via: string }[]; readonly remove: readonly Route[] }

/** Neighbours to whose pods a route can lead: on a network of this host, and not this host itself. */
export function neighbours({ nodeName, nodeIP, networks, podCIDR, clusterCIDR, peers }: Omit<RouteInput, 'routes'>): Peer[] {
  const isNear = networkTest(networks);
  const isPods = networkTest([clusterCIDR]);
  return peers.filter(([name, address, pods]) => name !== nodeName && address !== nodeIP && pods !== podCIDR && isNear(address) && isPods(pods.split('/')[0] ?? ''));
}

/**
 * What makes the routes to the neighbours' pods right. Routes that somebody else made stay, also where they are in the way:
 * who numbers the hosts' networks by hand has routes of their own. Pure.
 */
export function planPeerRoutes(input: RouteInput): RoutePlan {
  const wanted = new Map(neighbours(input).map(([, via, to]) => [to, via]));
  const foreign = new Set(input.routes.filter(({ own }) => !own).map(({ to }) => to));
  const there = new Map(input.routes.filter(({ own }) => own).map((route) => [route.to, route.via]));
  return {
    set: [...wanted].filter(([to, via]) => !foreign.has(to) && there.get(to) !== via).map(([to, via]) => ({ to, via })),
    remove: input.routes.filter(({ to, own }) => own && !wanted.has(to)),
  };
}

/** Reads `ip -4 route show`; routes without a network (`default`) are left out. */
export function parseRoutes(text: string): Route[] {
  return text.split('\n').flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const after = (word: string): string => { const at = words.indexOf(word); return at < 0 ? '' : words[at + 1] ?? ''; };
    const to = words[0] ?? '';
    return /^\d+\.\d+\.\d+\.\d+\/\d+$/.test(to) ? [{ to, via: after('via'), own: after('proto') === routeProtocol }] : [];
  });
}
