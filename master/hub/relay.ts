import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import { endpointSlices, type EndpointSlice } from '../../shared/kinds/endpointslice.ts';
import { services, type Service } from '../../shared/kinds/service.ts';
import type { Payload, StreamRequest } from '../../shared/protocol.ts';
import type { Registry } from '../registry/registry.ts';

export type RelayWish = Omit<Payload<'relay'>, 'id'>;
export type RelayRequest = Extract<StreamRequest, { type: 'relay' }>;

export interface RelayOptions {
  readonly registry: Registry;
  /** Opens a stream of a node. @throws StreamReset when it cannot */
  readonly open: (node: string, request: RelayRequest) => ByteStream;
}

/**
 * Joins `stream`, which a node opened, with one to the node that the wanted endpoint is on. What either end has read
 * and sent on counts, not what was received: so the slower of them sets the pace of both, and what waits here is at most
 * a window each way. Never throws: what goes wrong resets the stream.
 */
export function relay(stream: ByteStream, wish: RelayWish, { registry, open }: RelayOptions): void {
  try {
    const slice = registry.find<EndpointSlice>(endpointSlices, wish.namespace, wish.slice);
    const target = slice && relayTarget(slice, wish, () => announcesUnready(registry, slice));
    if (!target) throw new StreamReset(403, `${wish.address}:${wish.port} is no endpoint of ${wish.namespace}/${wish.slice} that can be relayed to`);
    splice(stream, open(target.node, target.request));
  } catch (error) {
    if (!(error instanceof StreamReset)) throw error;
    stream.reset(error.code, error.message);
  }
}

/**
 * The pod behind an endpoint of a service's slice, if connections may go there now. Pure. An address by itself is none: only
 * what a service leads to can be reached, and only where its own node says that the pod is.
 */
export function relayTarget(slice: EndpointSlice, wish: RelayWish, unready: () => boolean): { node: string; request: RelayRequest } | undefined {
  if (!slice.metadata.labels?.['kubernetes.io/service-name']) return undefined;
  if (!slice.ports?.some(({ port, protocol }) => port === wish.port && protocol === 'TCP')) return undefined;
  const endpoint = slice.endpoints.find(({ addresses, nodeName }) => nodeName && addresses.includes(wish.address));
  const pod = endpoint?.targetRef;
  if (!endpoint?.nodeName || pod?.kind !== 'Pod' || !pod.name) return undefined;
  const { ready = true, serving = ready } = endpoint.conditions;
  if (!ready && !serving && !unready()) return undefined;
  return { node: endpoint.nodeName, request: { type: 'relay', namespace: wish.namespace, pod: pod.name, uid: pod.uid ?? '', port: wish.port } };
}

function announcesUnready(registry: Registry, { metadata }: EndpointSlice): boolean {
  const name = metadata.labels?.['kubernetes.io/service-name'] ?? '';
  return registry.find<Service>(services, metadata.namespace ?? '', name)?.spec.publishNotReadyAddresses ?? false;
}

/** Makes two streams one: bytes, ends and resets of either become the other's. */
export function splice(a: ByteStream, b: ByteStream): void {
  a.onReset((why) => b.reset(why.code, why.message));
  b.onReset((why) => a.reset(why.code, why.message));
  void pump(a, b);
  void pump(b, a);
}

/** Never rejects: a stream that is reset has told the other. */
async function pump(from: ByteStream, to: ByteStream): Promise<void> {
  try {
    await from.flow((bytes) => to.pass(bytes));
    to.end();
  } catch {
    // Told.
  }
}
