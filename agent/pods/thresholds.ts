import { formatBytes, parseQuantity } from '../../shared/quantity.ts';

/** What can run short, in the order in which it is seen to: memory first, since its shortage is the least patient. */
export const signals = ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'imagefs.available', 'imagefs.inodesFree', 'pid.available'] as const;
export type Signal = (typeof signals)[number];

/** Bytes, inodes or process ids. */
export interface Observation { readonly available: number; readonly capacity: number }
/** A signal that cannot be read is missing. */
export type Observations = ReadonlyMap<Signal, Observation>;

/** A point below which something runs short. */
export interface Threshold {
  readonly signal: Signal;
  /** A share of the capacity in [0, 1], or an amount. */
  readonly value: { readonly share: number } | { readonly amount: number };
  /** How long it is borne; 0: not at all, a hard threshold. */
  readonly graceMs: number;
}

export type PressureType = 'MemoryPressure' | 'DiskPressure' | 'PIDPressure';

/** The kubelet's `--eviction-hard`, where nothing else is said. */
export const defaultHard = 'memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%';

const isSignal = (text: string): text is Signal => (signals as readonly string[]).includes(text);

/**
 * Reads `memory.available<100Mi,nodefs.available<10%`. `0%` and `100%` leave a signal alone, as in the kubelet.
 * @throws Error with the kubelet's words
 */
export function parseThresholds(text: string, graceMs: (signal: Signal) => number = () => 0): Threshold[] {
  const found = new Map<Signal, Threshold>();
  for (const statement of text.split(',').map((part) => part.trim()).filter(Boolean)) {
    const [signal = '', limit, ...rest] = statement.split('<').map((part) => part.trim());
    if (limit === undefined || rest.length > 0) throw new Error(`invalid eviction threshold syntax ${statement}, expected <signal><operator><value>`);
    if (!isSignal(signal)) throw new Error(`eviction signal ${signal} is not supported`);
    if (found.has(signal)) throw new Error(`found duplicate eviction threshold for signal ${signal}`);
    const value = parseLimit(signal, limit);
    if (value) found.set(signal, { signal, value, graceMs: graceMs(signal) });
  }
  return [...found.values()].sort((a, b) => signals.indexOf(a.signal) - signals.indexOf(b.signal));
}

function parseLimit(signal: Signal, text: string): Threshold['value'] | undefined {
  if (text.endsWith('%')) {
    const percent = Number(text.slice(0, -1));
    if (!(percent >= 0 && percent <= 100)) throw new Error(`eviction percentage threshold ${signal} must be >= 0% and <= 100%: ${text}`);
    return percent === 0 || percent === 100 ? undefined : { share: percent / 100 };
  }
  const amount = quantityOrNaN(text);
  if (!(amount >= 0)) throw new Error(`eviction threshold ${signal} must be positive: ${text}`);
  return { amount };
}

function quantityOrNaN(text: string): number {
  try {
    return parseQuantity(text);
  } catch {
    return NaN;
  }
}

/** Reads `memory.available=1m30s`, the kubelet's form of soft thresholds' grace. @throws Error */
export function parseGraces(text: string): Map<Signal, number> {
  return new Map(text.split(',').map((part) => part.trim()).filter(Boolean).map((part): [Signal, number] => {
    const [signal = '', time = ''] = part.split('=');
    if (!isSignal(signal)) throw new Error(`eviction signal ${signal} is not supported`);
    const ms = parseDuration(time);
    if (ms === undefined) throw new Error(`invalid eviction grace period ${part}, expected <signal>=<duration>`);
    return [signal, ms];
  }));
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `1m30s` in ms; undefined for what is no duration. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce((sum, [, count, unit]) => sum + Number(count) * (unitMs[unit ?? ''] ?? 0), 0);
}

/** The amount that a threshold stands for, given how much there is in all. */
export const quantityOf = ({ value }: Threshold, capacity: number): number => ('amount' in value ? value.amount : Math.trunc(value.share * capacity));

export function isMet(threshold: Threshold, seen: Observations): boolean {
  const of = seen.get(threshold.signal);
  return of !== undefined && of.capacity > 0 && of.available < quantityOf(threshold, of.capacity);
}

/** What a shortage is called in a node's conditions. */
export const pressureOf = (signal: Signal): PressureType =>
  (signal === 'memory.available' ? 'MemoryPressure' : signal === 'pid.available' ? 'PIDPressure' : 'DiskPressure');

export type Starved = 'memory' | 'ephemeral-storage' | 'inodes' | 'pids';

/** What is to be given back. */
export function starvedOf(signal: Signal): Starved {
  switch (signal) {
    case 'memory.available': return 'memory';
    case 'pid.available': return 'pids';
    case 'nodefs.inodesFree': case 'imagefs.inodesFree': return 'inodes';
    case 'nodefs.available': case 'imagefs.available': return 'ephemeral-storage';
  }
}

/** An amount of something starved, in words. */
export const amountText = (amount: number): string => formatBytes(amount);

/** What of a node's memory and disk its hard thresholds keep from pods. */
export function keptBack(thresholds: readonly Threshold[], capacity: { readonly memoryBytes: number; readonly diskBytes: number }): { memoryBytes: number; diskBytes: number } {
  const hard = (signal: Signal, of: number): number => {
    const threshold = thresholds.find((t) => t.signal === signal && t.graceMs === 0);
    return threshold ? quantityOf(threshold, of) : 0;
  };
  return { memoryBytes: hard('memory.available', capacity.memoryBytes), diskBytes: hard('nodefs.available', capacity.diskBytes) };
}
