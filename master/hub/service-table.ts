import { diffEndpoints } from '../../shared/endpoints-patch.ts';
import { endpointSlices, type EndpointSlice } from '../../shared/kinds/endpointslice.ts';
import { services, type Service } from '../../shared/kinds/service.ts';
import { deflateFrame, encodeMessage, encodeSync, packItem, type EndpointsItem, type Item, type SlicePatch } from '../../shared/protocol.ts';
import type { KindChange } from '../registry/types.ts';
import { endpointsItem, serviceItem } from './items.ts';
import { Tombstones } from './tombstones.ts';

/** Removed services and slices that are remembered for agents that resume. */
const maxTombstones = 10_000;

interface Entry { readonly revision: number; readonly packed: Buffer }
interface Pending { readonly before: EndpointsItem | undefined; after: Item | undefined }

/** Services and endpoint slices, which every node knows: packed once for all of them. */
export class ServiceTable {
  readonly #epoch: string;
  readonly #entries = new Map<string, Entry>();
  readonly #pending = new Map<string, Pending>();
  readonly #tombstones: Tombstones;
  #snapshot: readonly Buffer[] | undefined;

  constructor(epoch: string, horizon: number) {
    this.#epoch = epoch;
    this.#tombstones = new Tombstones(maxTombstones, horizon);
  }

  get size(): number {
    return this.#entries.size;
  }

  get horizon(): number {
    return this.#tombstones.horizon;
  }

  /** Takes a stored service or slice, when the table is loaded. */
  stored({ kind, namespace, name, object, revision }: KindChange): void {
    const item = itemOf(kind.prefix, object, revision);
    if (item) this.#entries.set(keyOf(kind.prefix, namespace, name), { revision, packed: packItem(item) });
  }

  /** Takes a change of a service or slice; returns false for one that was already seen. */
  apply(change: KindChange): boolean {
    const key = keyOf(change.kind.prefix, change.namespace, change.name);
    const known = this.#entries.get(key);
    if (known && known.revision >= change.revision) return false;
    const after = change.type === 'DELETED' ? undefined : itemOf(change.kind.prefix, change.object, change.revision);
    if (!known && !after) return false;
    this.#snapshot = undefined;
    const pending = this.#pending.get(key);
    if (pending) pending.after = after;
    else this.#pending.set(key, { before: known ? previousSlice(change, known.revision) : undefined, after });
    if (after) {
      this.#entries.set(key, { revision: change.revision, packed: packItem(after) });
      this.#tombstones.delete(key);
    } else {
      this.#entries.delete(key);
      this.#tombstones.add(key, change.revision);
    }
    return true;
  }

  /** Remembers a removal from before this table was loaded. */
  removedBefore(change: KindChange): void {
    const key = keyOf(change.kind.prefix, change.namespace, change.name);
    if (!this.#entries.has(key)) this.#tombstones.add(key, change.revision);
  }

  /** Frames that take every agent from a revision at or before `from`... to `revision`, for all that changed since the last call; none if nothing did. */
  take(from: number, revision: number): Buffer[] {
    if (this.#pending.size === 0) return [];
    const items: Buffer[] = [];
    const removed: string[] = [];
    const patches: SlicePatch[] = [];
    for (const [key, { before, after }] of this.#pending) {
      const patch = before && after?.type === 'endpoints' ? diffEndpoints(before, after) : undefined;
      if (patch) patches.push(patch);
      else if (after) items.push(this.#entries.get(key)!.packed);
      else removed.push(key);
    }
    this.#pending.clear();
    const more = patches.length > 0;
    const frames = items.length + removed.length > 0 ? syncFrames({ epoch: this.#epoch, from, revision, removed, more }, items) : [];
    return more ? [...frames, encodeMessage('patch', [from, revision, patches])] : frames;
  }

  /** What changed after `revision`. */
  since(revision: number): { items: Buffer[]; removed: string[] } {
    const items: Buffer[] = [];
    for (const entry of this.#entries.values()) if (entry.revision > revision) items.push(entry.packed);
    return { items, removed: this.#tombstones.since(revision) };
  }

  /** First parts of a complete snapshot, shared by all that need one; the last part is the node's own. */
  snapshot(revision: number): readonly Buffer[] {
    return this.#snapshot ??= this.#entries.size === 0 ? []
      : syncFrames({ epoch: this.#epoch, from: 0, revision, removed: [], more: true }, [...this.#entries.values()].map(({ packed }) => packed));
  }
}

/** Largest part of a sync in bytes before compression, unless one item is larger: small once compressed, quick to compress. */
const partBytes = 64 * 1024;

/** A sync in parts, compressed where that helps; `more` says whether the last of them is followed by others. At least one. */
export function syncFrames(head: { epoch: string; from: number; revision: number; removed: string[]; more: boolean }, items: readonly Buffer[]): Buffer[] {
  const frames: Buffer[] = [];
  let part: Buffer[] = [];
  let bytes = 0;
  for (const item of items) {
    if (bytes > 0 && bytes + item.length > partBytes) {
      frames.push(deflateFrame(encodeSync({ ...head, removed: [], more: true }, part)));
      part = [];
      bytes = 0;
    }
    part.push(item);
    bytes += item.length;
  }
  return [...frames, deflateFrame(encodeSync(head, part))];
}

const keyOf = (prefix: string, namespace: string, name: string): string => `${prefix === services.prefix ? 'service' : 'endpoints'}/${namespace}/${name}`;

const itemOf = (prefix: string, object: unknown, revision: number): Item | undefined =>
  (prefix === services.prefix ? serviceItem(object as Service, revision) : endpointsItem(object as EndpointSlice, revision));

/** The slice as agents hold it, if the change says what it was. */
function previousSlice(change: KindChange, revision: number): EndpointsItem | undefined {
  if (change.kind.prefix !== endpointSlices.prefix || change.type !== 'MODIFIED') return undefined;
  const previous = change.previous as EndpointSlice | undefined;
  return previous && Number(previous.metadata.resourceVersion) === revision ? endpointsItem(previous, revision) : undefined;
}
