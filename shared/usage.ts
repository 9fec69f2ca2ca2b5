import { deflateRawSync, inflateRawSync } from 'node:zlib';
import * as v from 'valibot';

const amount = v.pipe(v.number(), v.integer(), v.minValue(0));
const name = v.pipe(v.string(), v.maxLength(253));

/** Name, CPU in thousand-millionths of one (nanocores), working set in bytes. */
const ContainerUsage = v.tuple([name, amount, amount]);

/**
 * What a node and its running containers use: what a stream of type `usage` carries. CPU is a rate over `windowMs`, memory is
 * the working set (usage without file pages that nobody has touched lately) at the window's end.
 */
export const NodeUsage = v.object({
  windowMs: amount, cpu: amount, memory: amount,
  /** Namespace, name, uid, window in ms, containers. */
  pods: v.array(v.tuple([name, name, name, amount, v.array(ContainerUsage)])),
});
export type NodeUsage = v.InferOutput<typeof NodeUsage>;

const maxBytes = 4 * 2 ** 20;

export const encodeUsage = (usage: NodeUsage): Uint8Array => deflateRawSync(JSON.stringify(usage));

/** @throws Error when the bytes are no {@link NodeUsage} */
export const decodeUsage = (bytes: Uint8Array): NodeUsage =>
  v.parse(NodeUsage, JSON.parse(inflateRawSync(bytes, { maxOutputLength: maxBytes }).toString()));
