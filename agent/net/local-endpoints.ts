import type { EndpointsItem, Item } from '../../shared/protocol.ts';

/** A pod of this node as the node itself sees it now. */
export interface LocalPod {
  /** Of its sandbox; empty while none runs. */
  readonly ips: readonly string[];
  readonly ready: boolean;
}

export interface LocalView {
  readonly nodeName: string;
  /** There is no master that would say whether a pod may be used: the node's own word decides. */
  readonly alone: boolean;
  /** `gone` for a pod that is not here; undefined while the node has not looked. */
  readonly pod: (namespace: string, name: string) => LocalPod | 'gone' | undefined;
}

/**
 * What the node knows of its own pods over what the master knew: a pod that was started again has another address, and
 * that address may be another pod's by now. The master learns of it too, when it is there; the node cannot wait for that.
 */
export function* withLocalPods(items: Iterable<Item>, view: LocalView): Generator<Item> {
  for (const item of items) yield item.type === 'endpoints' ? corrected(item, view) : item;
}

function corrected(item: EndpointsItem, view: LocalView): EndpointsItem {
  if (!item.endpoints.some(({ nodeName, pod }) => nodeName === view.nodeName && pod !== undefined)) return item;
  return { ...item, endpoints: item.endpoints.flatMap((endpoint) => correctedOne(item.namespace, endpoint, view)) };
}

type Endpoint = EndpointsItem['endpoints'][number];

function correctedOne(namespace: string, endpoint: Endpoint, { nodeName, alone, pod }: LocalView): Endpoint[] {
  const local = endpoint.nodeName === nodeName && endpoint.pod !== undefined ? pod(namespace, endpoint.pod) : undefined;
  if (local === undefined) return [endpoint];
  if (local === 'gone') return [];
  const six = endpoint.addresses[0]?.includes(':') ?? false;
  const addresses = local.ips.filter((ip) => ip.includes(':') === six);
  if (addresses.length === 0) return [];
  const ready = local.ready && (alone || endpoint.ready) && !endpoint.terminating;
  return [{ ...endpoint, addresses, ready, serving: endpoint.terminating ? endpoint.serving && local.ready : ready }];
}
