import { isDeepStrictEqual } from 'node:util';
import type { Endpoint, EndpointSlice, EndpointSlicePort } from '../../shared/kinds/endpointslice.ts';

/** Endpoints of a slice at most, as Kubernetes' controllers fill them. */
const maxEndpoints = 100;

/** Endpoints that have the same ports. */
export interface PortGroup {
  readonly ports: readonly EndpointSlicePort[];
  readonly endpoints: readonly Endpoint[];
}

export interface SliceContent {
  readonly ports: readonly EndpointSlicePort[];
  readonly endpoints: readonly Endpoint[];
}

export interface SlicePlan {
  readonly create: readonly SliceContent[];
  readonly update: readonly (SliceContent & { readonly name: string })[];
  /** Names. */
  readonly remove: readonly string[];
}

interface Draft {
  readonly name: string | undefined;
  endpoints: Endpoint[];
  changed: boolean;
}

/**
 * Fits endpoints into slices so that little changes: an endpoint stays in its slice, new ones fill slices that change
 * anyway, then the fullest slice that takes the rest, then new slices. Without endpoints one empty slice remains, so
 * that watchers know that the service has none.
 */
export function packSlices(existing: readonly EndpointSlice[], groups: readonly PortGroup[]): SlicePlan {
  const wanted = groups.some(({ endpoints }) => endpoints.length > 0) ? groups.filter(({ endpoints }) => endpoints.length > 0) : [{ ports: [], endpoints: [] }];
  const free = new Map<string, EndpointSlice[]>();
  for (const slice of existing) {
    const key = portsKey(slice.ports ?? []);
    free.set(key, [...(free.get(key) ?? []), slice]);
  }
  const create: SliceContent[] = [];
  const update: (SliceContent & { name: string })[] = [];
  const remove: string[] = [];
  for (const { ports, endpoints } of wanted) {
    const key = portsKey(ports);
    const drafts = fill((free.get(key) ?? []).map(keptOf(endpoints)), missingOf(free.get(key) ?? [], endpoints));
    free.delete(key);
    for (const draft of withoutEmpty(drafts, endpoints.length === 0)) {
      if (draft.name === undefined) create.push({ ports, endpoints: draft.endpoints });
      else if (draft.endpoints.length === 0 && endpoints.length > 0) remove.push(draft.name);
      else if (draft.changed) update.push({ name: draft.name, ports, endpoints: draft.endpoints });
    }
  }
  for (const slices of free.values()) remove.push(...slices.map(nameOf));
  return { create, update, remove };
}

const nameOf = (slice: EndpointSlice): string => slice.metadata.name ?? '';

/** The endpoints of a slice that are still wanted, in their new state. */
const keptOf = (endpoints: readonly Endpoint[]) => {
  const left = new Map(endpoints.map((endpoint) => [identity(endpoint), endpoint]));
  return (slice: EndpointSlice): Draft => {
    let changed = false;
    const kept = slice.endpoints.flatMap((old) => {
      const now = left.get(identity(old));
      if (!now) changed = true;
      left.delete(identity(old));
      if (now && !isDeepStrictEqual(now, old)) changed = true;
      return now ?? [];
    });
    return { name: nameOf(slice), endpoints: kept, changed };
  };
};

function missingOf(slices: readonly EndpointSlice[], endpoints: readonly Endpoint[]): Endpoint[] {
  const known = new Set(slices.flatMap((slice) => slice.endpoints.map(identity)));
  return endpoints.filter((endpoint) => !known.has(identity(endpoint)));
}

function fill(drafts: Draft[], missing: Endpoint[]): Draft[] {
  for (const draft of drafts.filter(({ changed }) => changed)) draft.endpoints.push(...missing.splice(0, maxEndpoints - draft.endpoints.length));
  if (missing.length > 0) {
    const fitting = drafts.filter(({ endpoints }) => endpoints.length + missing.length <= maxEndpoints).sort((a, b) => b.endpoints.length - a.endpoints.length)[0];
    if (fitting) {
      fitting.endpoints.push(...missing.splice(0));
      fitting.changed = true;
    }
  }
  while (missing.length > 0) drafts.push({ name: undefined, endpoints: missing.splice(0, maxEndpoints), changed: true });
  return drafts;
}

/** Of a group without endpoints exactly one slice stays or is made. */
function withoutEmpty(drafts: Draft[], placeholder: boolean): Draft[] {
  if (!placeholder || drafts.length > 0) return drafts;
  return [{ name: undefined, endpoints: [], changed: true }];
}

const identity = ({ addresses, targetRef, hostname }: Endpoint): string => `${targetRef?.uid ?? ''} ${addresses.join(',')} ${hostname ?? ''}`;

/** The same text for the same ports in any order. */
export const portsKey = (ports: readonly EndpointSlicePort[]): string =>
  ports.map(({ name, protocol, port, appProtocol }) => [name, protocol, port ?? '', appProtocol ?? ''].join(' ')).sort().join('\n');
