import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { Packr } from 'msgpackr';
import * as v from 'valibot';
import type { ConfigMap } from './kinds/configmap.ts';
import type { Node } from './kinds/node.ts';
import type { PersistentVolume } from './kinds/persistentvolume.ts';
import type { PersistentVolumeClaim } from './kinds/persistentvolumeclaim.ts';
import type { Pod } from './kinds/pod.ts';
import type { Secret } from './kinds/secret.ts';

/** Version of this file's messages. A hub refuses an agent whose major version it does not speak. */
export const protocolVersion = 1;

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const text = v.pipe(v.string(), v.maxLength(4096));

/** A whole API object that its own kind's decoder has checked or will check; here only that it names itself. */
const document = <T>() => v.custom<T>((input) => {
  const metadata = (input as { metadata?: { name?: unknown } } | null)?.metadata;
  return typeof metadata === 'object' && metadata !== null && typeof metadata.name === 'string' && metadata.name !== '';
}, 'expected an object with metadata.name');

const ServicePortEntry = v.object({
  name: v.string(), protocol: v.picklist(['TCP', 'UDP', 'SCTP']), port: count,
  nodePort: v.exactOptional(count), appProtocol: v.exactOptional(v.string()),
});
const EndpointPortEntry = v.object({ name: v.string(), protocol: v.picklist(['TCP', 'UDP', 'SCTP']), port: count });
const EndpointEntry = v.object({
  addresses: v.array(v.string()), ready: v.boolean(), serving: v.boolean(), terminating: v.boolean(),
  nodeName: v.exactOptional(v.string()), hostname: v.exactOptional(v.string()), pod: v.exactOptional(v.string()),
});

/**
 * One thing that a node must know. `revision` is the store revision that it was last changed at.
 * A service and its endpoint slices are items of their own, so that a changed slice costs a slice.
 */
export const Item = v.variant('type', [
  v.object({ type: v.literal('pod'), revision: count, object: document<Pod>() }),
  v.object({ type: v.literal('configMap'), revision: count, object: document<ConfigMap>() }),
  v.object({ type: v.literal('secret'), revision: count, object: document<Secret>() }),
  v.object({
    type: v.literal('service'), revision: count, namespace: text, name: text,
    serviceType: v.picklist(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']),
    /** Empty for ExternalName; `['None']` for headless. */
    clusterIPs: v.array(v.string()),
    /** Further addresses that it is served at by a node that has them: those of the spec, and of a load balancer. */
    externalIPs: v.exactOptional(v.array(v.string())),
    externalName: v.exactOptional(v.string()),
    ports: v.array(ServicePortEntry),
    /** Seconds of ClientIP affinity; 0 for none. */
    affinitySeconds: count,
    internalTrafficPolicy: v.picklist(['Cluster', 'Local']),
    externalTrafficPolicy: v.picklist(['Cluster', 'Local']),
    publishNotReadyAddresses: v.boolean(),
  }),
  v.object({
    type: v.literal('endpoints'), revision: count, namespace: text,
    /** Name of the EndpointSlice. */
    name: text,
    service: text,
    ports: v.array(EndpointPortEntry),
    endpoints: v.array(EndpointEntry),
  }),
  // A claim of a pod of this node, with the volume that it is bound to.
  v.object({ type: v.literal('claim'), revision: count, object: document<PersistentVolumeClaim>(), volume: v.exactOptional(document<PersistentVolume>()) }),
]);
export type Item = v.InferOutput<typeof Item>;
export type ItemOf<K extends Item['type']> = Extract<Item, { type: K }>;
export type ServiceItem = ItemOf<'service'>;
export type EndpointsItem = ItemOf<'endpoints'>;

const itemTypes: ReadonlySet<string> = new Set(Item.options.map((option) => option.entries.type.literal));

/** Whether an item is one of {@link Item}, as far as its type tells: a later version may have made it. */
export const isKnownItem = (item: { readonly type: string }): boolean => itemTypes.has(item.type);

/** Items of one sync. Those of a type that is not known here are passed over, and the others are taken. */
const Items = v.pipe(
  v.custom<{ type: string }[]>((input) => Array.isArray(input) && input.every((item: { type?: unknown } | null) => typeof item?.type === 'string'), 'expected a list of items'),
  v.transform((items) => (items.every(isKnownItem) ? items : items.filter(isKnownItem))),
  v.array(Item),
);

/**
 * What agents know beyond the first version, as they say in `hello`: item types and stream requests. The master sends no
 * other to an agent. Append with each that is added; see protocol.md.
 */
export const agentKnows = ['claim', 'removeVolume'] as const;

/** A taint, as agents are told of it. */
export const NodeTaint = v.object({ key: text, value: v.exactOptional(text), effect: v.picklist(['NoSchedule', 'PreferNoSchedule', 'NoExecute']) });
export type NodeTaint = v.InferOutput<typeof NodeTaint>;

/** Labels of a Node that are its agent's alone. */
export const agentLabels: readonly string[] = ['kubernetes.io/hostname', 'kubernetes.io/os', 'kubernetes.io/arch'];

/** `pod/default/web-1`: the identity of an item in state files and deltas. */
export function itemKey(item: Item): string {
  switch (item.type) {
    case 'pod': case 'configMap': case 'secret': case 'claim': return `${item.type}/${item.object.metadata.namespace ?? ''}/${item.object.metadata.name ?? ''}`;
    case 'service': case 'endpoints': return `${item.type}/${item.namespace}/${item.name}`;
  }
}

/** What the agent reports of a pod. `gone` says that its containers are no more, so that the master may remove the object. */
const PodReport = v.object({
  namespace: text, name: text, uid: text,
  /** A `PodStatus`; the hub runs the kind's decoder over it. */
  status: v.record(v.string(), v.unknown()),
  gone: v.boolean(),
});
export type PodReport = v.InferOutput<typeof PodReport>;

export const EventReport = v.object({
  namespace: text,
  /** Identity of the event on the agent, for counting: a repeated event keeps its key. */
  key: text,
  involvedObject: v.object({
    apiVersion: text, kind: text, namespace: v.exactOptional(text), name: text, uid: v.exactOptional(text),
    fieldPath: v.exactOptional(text),
  }),
  reason: text, message: v.string(), type: v.picklist(['Normal', 'Warning']), component: text,
  count, firstMs: count, lastMs: count,
});
export type EventReport = v.InferOutput<typeof EventReport>;

/** What a stream opened by the master is for. */
export const StreamRequest = v.variant('type', [
  v.object({
    type: v.literal('logs'), namespace: text, pod: text, uid: text, container: text,
    follow: v.boolean(), previous: v.boolean(), timestamps: v.boolean(),
    sinceMs: v.exactOptional(count), tailLines: v.exactOptional(count), limitBytes: v.exactOptional(count),
  }),
  // The bytes of exec and attach are frames of stream-frames.ts, both ways.
  v.object({
    type: v.literal('exec'), namespace: text, pod: text, uid: text, container: text,
    command: v.array(v.string()), stdin: v.boolean(), stdout: v.boolean(), stderr: v.boolean(), tty: v.boolean(),
  }),
  v.object({
    type: v.literal('attach'), namespace: text, pod: text, uid: text, container: text,
    stdin: v.boolean(), stdout: v.boolean(), stderr: v.boolean(), tty: v.boolean(),
  }),
  // One TCP connection to a port of the pod: the bytes are its bytes.
  v.object({ type: v.literal('portForward'), namespace: text, pod: text, uid: text, port: count }),
  // The same for another node's service proxy: one byte (0) from the agent once it is connected, then the bytes. Its window is channel.ts's relayWindow.
  v.object({ type: v.literal('relay'), namespace: text, pod: text, uid: text, port: count }),
  // Removes the directory of a volume that was provisioned on the node; no bytes, the end says that it is gone.
  v.object({ type: v.literal('removeVolume'), volume: text, path: text }),
  // What the node and its containers use now: one document of usage.ts, from the agent.
  v.object({ type: v.literal('usage') }),
  // HTTP/1.1, of which the agent is the server: nodes/NAME/proxy. Each stream is one connection.
  v.object({ type: v.literal('kubelet') }),
]);
export type StreamRequest = v.InferOutput<typeof StreamRequest>;

/**
 * A changed endpoint in short: addresses, flags (1 ready, 2 serving, 4 terminating), node name, host name, pod; `''` for absent.
 */
const EndpointTuple = v.tuple([v.array(v.string()), count, v.string(), v.string(), v.string()]);
export type EndpointTuple = v.InferOutput<typeof EndpointTuple>;

/**
 * What became of one endpoint slice: namespace, name, revision that it is based on, its new revision, endpoints added or
 * changed, first addresses of endpoints removed. See endpoints-patch.ts.
 */
const SlicePatch = v.tuple([text, text, count, count, v.array(EndpointTuple), v.array(v.string())]);
export type SlicePatch = v.InferOutput<typeof SlicePatch>;

interface MessageSpec { readonly from: 'agent' | 'master'; readonly schema: v.GenericSchema<unknown, unknown> }
const message = <const F extends 'agent' | 'master', S extends v.GenericSchema<unknown, unknown>>(from: F, schema: S): { from: F; schema: S } => ({ from, schema });

/**
 * Every message between master and agent. A message's number on the wire is its place in this list: append only.
 *
 * ```
 * agent                                   master
 *   hello {epoch, revision held}  ───────▶
 *                                 ◀─────── welcome
 *                                 ◀─────── sync {from, revision, items, removed}   from = 0: a complete snapshot
 *   (persist)  ack {revision}     ───────▶
 *   status {seq, …}               ───────▶
 *                                 ◀─────── statusAck {seq}
 * ```
 */
export const messages = {
  /**
   * First frame of a session. `epoch` is `''` and `revision` 0 for an agent that holds nothing; `items` is how many it
   * holds, as in `ack`.
   */
  hello: message('agent', v.object({ protocol: count, agentVersion: text, node: text, bootId: text, epoch: text, revision: count, items: v.exactOptional(count),
    /** Docker's name of the architecture of an agent that takes `upgrade`. */
    upgrades: v.exactOptional(text),
    /** Whether the agent takes streams of type `relay`. */
    relays: v.exactOptional(v.boolean()),
    /** Whether the agent takes streams of type `usage`. */
    usage: v.exactOptional(v.boolean()),
    /** Whether the agent takes streams of type `kubelet`. */
    kubelet: v.exactOptional(v.boolean()),
    /** Of {@link agentKnows}, what the agent does. */
    knows: v.exactOptional(v.pipe(v.array(text), v.maxLength(256))),
  })),
  /** The answer; `leaseMs` is how long the master waits for a sign of life, `heartbeatMs` how often one is due. */
  welcome: message('master', v.object({
    protocol: count, masterVersion: text, epoch: text, nowMs: count, heartbeatMs: count, leaseMs: count,
    serviceCIDR: text, clusterDomain: text, clusterDNS: text, podCIDR: text,
    /** Whether the master answers `renew`. */
    renews: v.exactOptional(v.boolean()),
    /** Whether the master answers `token`. */
    tokens: v.exactOptional(v.boolean()),
    /** All pods' addresses; with it, the master answers `relay` and `peersWanted`. */
    clusterCIDR: v.exactOptional(text),
    /** Labels of the Node, beside `agentLabels`, once there is one. */
    nodeLabels: v.exactOptional(v.record(text, text)),
    /** NoExecute taints of the Node; absent without any. */
    nodeTaints: v.exactOptional(v.array(NodeTaint)),
  })),
  /**
   * Takes the agent from revision `from` to `revision`. `from` 0 replaces everything it holds. Large ones come in parts:
   * all but the last have `more`, and only the last may be persisted and acknowledged together with its parts; its
   * `from` and `revision` are those of the whole (a `patch` may be the last part). Items are whole, so a sync may be
   * applied by an agent that holds any revision in [`from`, `revision`).
   */
  sync: message('master', v.object({ epoch: text, from: count, revision: count, items: Items, removed: v.array(text), more: v.boolean() })),
  /**
   * Everything up to `revision` is on the agent's disk. `items`, in the first ack of a session, is how many it holds: the
   * master sends a snapshot when the agent has kept something whose removal the master no longer remembers.
   */
  ack: message('agent', v.object({ epoch: text, revision: count, items: v.exactOptional(count) })),
  /** The agent cannot apply a sync (its `from` is not what it holds): send a snapshot. */
  resync: message('agent', v.object({ reason: text })),
  /** Latest statuses; resent until acknowledged, the latest of a pod wins. */
  status: message('agent', v.object({ seq: count, pods: v.array(PodReport) })),
  statusAck: message('master', v.object({ seq: count })),
  /** The Node object as the agent sees it: labels, capacity, conditions, addresses, images. */
  node: message('agent', v.object({ seq: count, node: document<Node>() })),
  nodeAck: message('master', v.object({ seq: count })),
  events: message('agent', v.object({ seq: count, events: v.array(EventReport) })),
  eventsAck: message('master', v.object({ seq: count })),
  /** A sign of life; any other frame counts as one too. */
  heartbeat: message('agent', v.object({})),
  heartbeatAck: message('master', v.object({})),
  /** Opens byte stream `id` (even numbers are the master's). The data travels in channel frames. */
  open: message('master', v.object({ id: count, request: StreamRequest })),
  /** The master ends the session and says why; `retry` false: do not come back with these credentials. */
  bye: message('master', v.object({ reason: text, retry: v.boolean() })),
  /**
   * The last (often the only) part of a sync, for endpoint slices of which little changed: from, revision, slices.
   * A slice that the agent holds at or past its new revision is skipped; one that is not at its base asks for a resync.
   */
  patch: message('master', v.tuple([count, count, v.array(SlicePatch)])),
  /** The master lacks what the agent reported before (new database, node deleted or written off): report everything again. */
  report: message('master', v.object({})),
  /** Asks for a certificate for a new key (SPKI PEM). `proof`: ECDSA-SHA256 (DER, base64) by it over `renewalText` of the node. One at a time. */
  renew: message('agent', v.object({ publicKey: text, proof: text })),
  /** Its answer, both PEM. The certificate in use stays good until this one was used. */
  certificate: message('master', v.object({ certificate: v.pipe(v.string(), v.maxLength(16_384)), ca: v.pipe(v.string(), v.maxLength(16_384)) })),
  /** The other answer: not now. */
  notRenewed: message('master', v.object({ reason: text })),
  /** Fetch this program, try it for `limitMs` at most, and keep it if it proves healthy. Asked again, it answers how far it is. */
  upgrade: message('master', v.object({ sha256: text, bytes: count, limitMs: count })),
  /** How far an upgrade is. `done` and `failed` are said in each session until they are seen. */
  upgradeStatus: message('agent', v.object({
    sha256: text, phase: v.picklist(['fetching', 'checking', 'trying', 'done', 'failed']),
    /** Of the program, `''` while it is unknown. */
    version: v.pipe(v.string(), v.maxLength(256)), detail: v.pipe(v.string(), v.maxLength(4096)),
    /** Of the program that are here. */
    bytes: count,
  })),
  upgradeSeen: message('master', v.object({ sha256: text })),
  /** Asks for a token of the service account of a pod of this node, as one of the pod's volumes wants it; `audience` `''` is the API. */
  token: message('agent', v.object({ id: count, namespace: text, pod: text, uid: text, audience: text, seconds: count })),
  /** Its answer; what it says of its own end may lie after `seconds`. */
  podToken: message('master', v.object({ id: count, token: v.pipe(v.string(), v.maxLength(16_384)) })),
  /** The other answer. */
  noPodToken: message('master', v.object({ id: count, reason: text })),
  /**
   * Opens byte stream `id` (odd numbers are the agent's) to an endpoint, `address:port` over TCP, of an EndpointSlice whose pod
   * is on another node. The stream's first byte is 0, once that node is connected to the pod; a reset says why it is not.
   */
  relay: message('agent', v.object({ id: count, namespace: text, slice: text, address: text, port: count })),
  /** Asks for the nodes in networks (`10.0.0.0/24`) that this node is on, from now on. `held`: `peersDigest` of those that it knows. */
  peersWanted: message('agent', v.object({ networks: v.pipe(v.array(text), v.maxLength(16)), held: text })),
  /** Its answer, and later changes: whether these are all that there are, nodes new or changed, names of nodes gone. See peers.ts. */
  peers: message('master', v.tuple([v.boolean(), v.array(v.tuple([text, text, text])), v.array(text)])),
} as const satisfies Record<string, MessageSpec>;

export type MessageName = keyof typeof messages;
export type Payload<N extends MessageName> = v.InferOutput<(typeof messages)[N]['schema']>;
export type From<F extends 'agent' | 'master'> = { [N in MessageName]: (typeof messages)[N]['from'] extends F ? N : never }[MessageName];
/** A decoded control message of one side. */
export type Message<F extends 'agent' | 'master'> = { [N in From<F>]: { readonly name: N; readonly payload: Payload<N> } }[From<F>];
/** One handler per message of the other side; a missing one does not compile. */
export type Handlers<F extends 'agent' | 'master', R = void> = { readonly [N in From<F>]: (payload: Payload<N>) => R };

/** Peer sent something that is no message of its side. The session ends; nothing of the frame was applied. */
export class ProtocolError extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'ProtocolError';
  }
}

/** The peer sent something of a later version, which is passed over. `stream`: it is a stream that it opened, which must be refused. */
export class UnknownMessage extends ProtocolError {
  readonly stream: number | undefined;

  constructor(what: string, stream?: number) {
    super(what);
    this.name = 'UnknownMessage';
    this.stream = stream;
  }
}

/** First byte of a frame: 0 is a control message, 255 a compressed one, others are channel.ts's. */
const controlFrame = 0;
const deflatedFrame = 255;
/** Whether a frame is for {@link decodeMessage}; if not, it is a channel's. */
export const isControl = (frame: Uint8Array): boolean => frame[0] === controlFrame || frame[0] === deflatedFrame;

/** Frames from this size on are worth compressing, and what one may inflate to at most. */
const worthDeflating = 1024;
const maxInflated = 16 * 1024 * 1024;

/** Largest frames in bytes that each end accepts; a longer one ends the session. A Secret may hold 1 MiB, in base64. */
export const maxFrameBytes = { fromAgent: 1024 * 1024, fromMaster: 8 * 1024 * 1024 } as const;

const packr = new Packr({ useRecords: false, variableMapSize: true, encodeUndefinedAsNil: false, int64AsType: 'number' });
const names = Object.keys(messages) as MessageName[];
const numbers = new Map(names.map((name, number) => [name, number]));

/** Bytes of a control frame: 0, the message's number, its payload in MessagePack. */
export function encodeMessage<N extends MessageName>(name: N, payload: Payload<N>): Buffer {
  const body = packr.pack(payload) as Buffer;
  const frame = Buffer.allocUnsafe(2 + body.length);
  frame[0] = controlFrame;
  frame[1] = numbers.get(name)!;
  body.copy(frame, 2);
  return frame;
}

/**
 * A large control frame of the master in fewer bytes, or as it is. Objects of one kind resemble each other, so a part of
 * a snapshot shrinks to a tenth; the fastest level does nearly all of that.
 */
export function deflateFrame(frame: Buffer): Buffer {
  if (frame.length < worthDeflating) return frame;
  const deflated = deflateRawSync(frame, { level: 1 });
  return deflated.length + 1 < frame.length ? Buffer.concat([Buffer.from([deflatedFrame]), deflated]) : frame;
}

function inflateFrame(frame: Uint8Array): Uint8Array {
  let inflated: Uint8Array;
  try {
    inflated = inflateRawSync(frame.subarray(1), { maxOutputLength: maxInflated });
  } catch (error) {
    throw new ProtocolError(`compressed frame of ${frame.length} bytes: ${(error as Error).message}`);
  }
  if (inflated[0] !== controlFrame) throw new ProtocolError('compressed frame without a control message in it');
  return inflated;
}

/** MessagePack of an item, to be put into any number of sync frames by {@link encodeSync}. */
export function packItem(item: Item): Buffer {
  // A copy of its own: what the encoder returns is a view of a larger buffer that would be kept alive by it.
  return Buffer.from(packr.pack(item) as Buffer);
}

/** The frame that `encodeMessage('sync', …)` would give, from items packed before. */
export function encodeSync(head: Omit<Payload<'sync'>, 'items'>, packed: readonly Uint8Array[]): Buffer {
  const { epoch, from, revision, removed, more } = head;
  const before = [packr.pack('epoch'), packr.pack(epoch), packr.pack('from'), packr.pack(from), packr.pack('revision'), packr.pack(revision),
    packr.pack('removed'), packr.pack(removed), packr.pack('more'), packr.pack(more), packr.pack('items')] as Buffer[];
  return Buffer.concat([Buffer.from([controlFrame, numbers.get('sync')!, 0x86]), ...before, arrayHeader(packed.length), ...packed]);
}

function arrayHeader(length: number): Buffer {
  if (length < 16) return Buffer.from([0x90 | length]);
  const header = Buffer.alloc(5);
  header[0] = 0xdd;
  header.writeUInt32BE(length, 1);
  return header;
}

/**
 * Reads a control frame of the side `from`.
 * @throws ProtocolError when it is none, or its payload fails the message's schema
 * @throws UnknownMessage when a later master may well have sent it
 */
export function decodeMessage<F extends 'agent' | 'master'>(frame: Uint8Array, from: F): Message<F> {
  if (frame[0] === deflatedFrame && from === 'master') return decodeMessage(inflateFrame(frame), from);
  const name = frame.length >= 2 && frame[0] === controlFrame ? names[frame[1]!] : undefined;
  if (!name && from === 'master' && frame[0] === controlFrame && frame.length >= 2) throw new UnknownMessage(`message ${frame[1]}`);
  if (!name) throw new ProtocolError(`frame of ${frame.length} bytes is no control message`);
  const spec: MessageSpec = messages[name];
  if (spec.from !== from) throw new ProtocolError(`message ${name} is not for ${from} to send`);
  const payload = unpack(name, frame.subarray(2));
  const result = v.safeParse(spec.schema, payload);
  if (!result.success) {
    if (name === 'open') refuseUnknown(payload);
    const issue = result.issues[0];
    throw new ProtocolError(`message ${name}: ${v.getDotPath(issue) ?? 'payload'}: ${issue.message}`);
  }
  return { name, payload: result.output } as Message<F>;
}

const streamTypes: ReadonlySet<string> = new Set(StreamRequest.options.map((option) => option.entries.type.literal));

/** @throws UnknownMessage for a stream whose request is of a type that is not known here */
function refuseUnknown(open: unknown): void {
  const { id, request } = (open ?? {}) as { id?: unknown; request?: { type?: unknown } | null };
  const type = request?.type;
  if (Number.isInteger(id) && typeof type === 'string' && !streamTypes.has(type)) throw new UnknownMessage(`stream request ${JSON.stringify(type)}`, id as number);
}

function unpack(name: string, body: Uint8Array): unknown {
  try {
    return packr.unpack(body) as unknown;
  } catch (error) {
    throw new ProtocolError(`message ${name}: ${(error as Error).message}`);
  }
}
