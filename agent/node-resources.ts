import { parseQuantity } from '../shared/quantity.ts';
import type { Allotment } from './node-object.ts';
import type { EvictionSettings } from './pods/evictor.ts';
import { defaultHard, parseDuration, parseGraces, parseThresholds, type Threshold } from './pods/thresholds.ts';

/** Settings of the config file, or flags, as they are given; the kubelet's flags of these names. */
export interface ResourceSettings {
  readonly maxPods?: string;
  readonly kubeReserved?: string;
  readonly systemReserved?: string;
  readonly evictionHard?: string;
  readonly evictionSoft?: string;
  readonly evictionSoftGracePeriod?: string;
  readonly evictionPressureTransitionPeriod?: string;
  readonly evictionMaxPodGracePeriod?: string;
}

/** What of a node is for pods, and when it evicts them. */
export interface ResourceConfig {
  readonly maxPods: number;
  readonly allotment: Allotment;
  readonly eviction: EvictionSettings;
}

/** Reads them all. `wrong` makes what is thrown, of one line that names the flag. */
export function readResources(given: ResourceSettings, wrong: (message: string) => Error): ResourceConfig {
  const under = <T>(flag: string, read: () => T): T => {
    try {
      return read();
    } catch (error) {
      throw wrong(`--${flag}: ${(error as Error).message}`);
    }
  };
  const hard = under('eviction-hard', () => parseThresholds(given.evictionHard ?? defaultHard));
  const graces = under('eviction-soft-grace-period', () => parseGraces(given.evictionSoftGracePeriod ?? ''));
  const soft = under('eviction-soft', () => parseThresholds(given.evictionSoft ?? '', (signal) => {
    const ms = graces.get(signal);
    if (!ms) throw new Error(`grace period must be specified for the soft eviction threshold ${signal}`);
    return ms;
  }));
  const transitionMs = under('eviction-pressure-transition-period', () => {
    const ms = parseDuration(given.evictionPressureTransitionPeriod ?? '5m');
    if (ms === undefined) throw new Error(`${JSON.stringify(given.evictionPressureTransitionPeriod)} is no duration such as 5m0s`);
    return ms;
  });
  const reserved = new Map<string, number>();
  for (const [flag, text] of [['kube-reserved', given.kubeReserved], ['system-reserved', given.systemReserved]] as const) {
    for (const [resource, amount] of under(flag, () => readReserved(text ?? ''))) reserved.set(resource, (reserved.get(resource) ?? 0) + amount);
  }
  const thresholds: Threshold[] = [...hard, ...soft];
  return {
    maxPods: Number(given.maxPods ?? 110), allotment: { reserved, thresholds: hard },
    eviction: { thresholds, transitionMs, maxGraceSeconds: Number(given.evictionMaxPodGracePeriod ?? 0) },
  };
}

const reservable = new Set(['cpu', 'memory', 'ephemeral-storage', 'pid']);

function readReserved(text: string): Map<string, number> {
  return new Map(text.split(',').map((part) => part.trim()).filter(Boolean).map((part): [string, number] => {
    const [resource = '', amount = ''] = part.split('=');
    if (!reservable.has(resource)) throw new Error(`cannot reserve ${JSON.stringify(resource)} resource`);
    const value = parseQuantity(amount);
    if (value < 0) throw new Error(`resource quantity for ${JSON.stringify(resource)} cannot be negative: ${amount}`);
    return [resource, value];
  }));
}
