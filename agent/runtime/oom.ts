import { readFile } from 'node:fs/promises';

const capSysResource = 24n;

/**
 * The lowest `oom_score_adj` that containers can be given here. Lowering it takes CAP_SYS_RESOURCE, which an engine
 * that is itself in a container may lack; a container that asks for less would not start. The agent stands for the
 * engine: they share a host, and mostly their capabilities.
 */
export async function oomScoreFloor(): Promise<number> {
  try {
    const [status, own] = await Promise.all([readFile('/proc/self/status', 'utf8'), readFile('/proc/self/oom_score_adj', 'utf8')]);
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
    return (effective >> capSysResource) & 1n ? -1000 : Number(own);
  } catch {
    return 0;
  }
}
