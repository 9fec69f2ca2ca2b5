import { StreamReset } from '../../shared/byte-stream.ts';
import { encodeUsage, type NodeUsage } from '../../shared/usage.ts';

export interface UsageOptions {
  /** What the node and its containers use now. */
  readonly usage?: () => Promise<NodeUsage>;
}

/** Answers what the node uses; see shared/usage.ts. */
export async function* usage({ usage: measure }: UsageOptions): AsyncIterable<Uint8Array> {
  if (!measure) throw new StreamReset(501, 'this agent measures nothing');
  yield encodeUsage(await measure());
}
