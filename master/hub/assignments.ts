import type { Kind } from '../../shared/kind.ts';
import { configMaps } from '../../shared/kinds/configmap.ts';
import { endpointSlices } from '../../shared/kinds/endpointslice.ts';
import { persistentVolumes } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims, type PersistentVolumeClaim } from '../../shared/kinds/persistentvolumeclaim.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { runtimeClasses } from '../../shared/kinds/runtimeclass.ts';
import { secrets } from '../../shared/kinds/secret.ts';
import { services } from '../../shared/kinds/service.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { agentKnows, packItem, type Item } from '../../shared/protocol.ts';
import type { KindChange, Stored } from '../registry/types.ts';
import type { Registry } from '../registry/registry.ts';
import { isBound } from '../registry/volumes.ts';
import { claimItem, configMapItem, itemFormat, podItem, sameForAgent, secretItem } from './items.ts';
import { dependenciesOf, type DependencyKey } from './references.ts';
import { ServiceTable } from './service-table.ts';
import { Tombstones } from './tombstones.ts';

/** Removals remembered per node. */
const maxTombstones = 256;
/** Log entries read at start for removals that agents may not have heard of. */
const replayed = 20_000;
/** Log entries looked at between two turns of the event loop. */
const logSlice = 1000;
/** Older versions looked at, at most, to find out whether a pod changed for its agent. */
const maxSteps = 64;

/** A pod as its node's assignment remembers it: no object, only when what changed. */
interface PodEntry {
  readonly uid: string;
  /** Revision of the object. */
  readonly revision: number;
  /** When the part that the agent sees last changed; when the pod, with these dependencies, came to the node. */
  readonly since: number;
  readonly entered: number;
  /** False for entries read at start: `since` and `entered` are then the latest that they can be. */
  readonly exact: boolean;
  /** Its agent has begun with it: from then on it is that agent's, whatever the agent knows. */
  readonly started: boolean;
  readonly dependencies: readonly DependencyKey[];
}

interface NodeEntry {
  /** By `namespace/name`. */
  readonly pods: Map<string, PodEntry>;
  readonly tombstones: Tombstones;
}

/** Told of a pod that its node's agent is not sent, since the agent knows nothing of these types of items. */
export type OnWithheld = (node: string, pod: Pod, types: readonly string[]) => void;

/** Items of one node, packed, dependencies before the pods that need them. */
export interface NodeItems { readonly items: Buffer[]; readonly removed: string[] }

/** What brings an agent up to date. */
export interface Resumption extends NodeItems {
  /** 0: a complete snapshot, whose first parts are {@link ServiceTable.snapshot}. */
  readonly from: number;
  readonly revision: number;
  /** How many items the agent must hold afterwards. */
  readonly expected: number;
}

/**
 * What each node must know, derived from the registry's changes: its pods until they are gone, the config maps,
 * secrets and claims that these refer to, and all services. Keeps keys and revisions, and reads objects when they are sent.
 */
export class Assignments {
  readonly services: ServiceTable;
  /** Of the store and of the form of items: what agents compare before they resume. */
  readonly epoch: string;
  readonly #registry: Registry;
  readonly #nodes = new Map<string, NodeEntry>();
  /** Where each pod is, by `namespace/name`. */
  readonly #places = new Map<string, string>();
  /** Config maps and secrets that nodes need, with the number of their pods that do. */
  readonly #users = new Map<DependencyKey, { exists: boolean; readonly nodes: Map<string, number> }>();
  /** Items to send, by node. */
  #dirty = new Map<string, Set<string>>();
  /** Types of items that the agents of nodes do not know; nodes whose agent knows all have no entry. */
  readonly #unknown = new Map<string, ReadonlySet<string>>();
  readonly #onWithheld: OnWithheld;
  readonly #horizon: number;
  /** Changes up to this revision were taken in. */
  #revision: number;

  constructor(registry: Registry, onWithheld: OnWithheld = () => {}) {
    const { store } = registry;
    this.#registry = registry;
    this.#onWithheld = onWithheld;
    this.epoch = `${store.epoch}.${itemFormat}`;
    this.#revision = store.revision;
    this.#horizon = Math.max(store.compactedRevision, store.revision - replayed);
    this.services = new ServiceTable(this.epoch, this.#horizon);
  }

  get revision(): number {
    return this.#revision;
  }

  /** Reads what is stored, then follows the changes until `signal` aborts; `onChanges` is told after each batch. */
  async load(pause: () => Promise<void>, onChanges: (changes: readonly KindChange[]) => void, signal: AbortSignal): Promise<void> {
    const loadedAt = this.#revision;
    await this.#registry.read({ kinds: readAtStart, take: (object) => this.#stored(object) }, signal);
    for (let from = this.#horizon; from < loadedAt && !signal.aborted; from += logSlice) {
      for (const change of this.#registry.deletions(from, Math.min(from + logSlice, loadedAt))) this.#deletedBefore(change);
      await pause();
    }
    this.#dirty.clear();
    this.#registry.changes(loadedAt, (changes) => {
      for (const change of changes) this.#apply(change);
      onChanges(changes);
    }, signal);
  }

  #stored(object: KindChange): void {
    if (object.kind.prefix === pods.prefix) this.#place(object.object as Pod, object.revision, false);
    else this.services.stored(object);
  }

  /** Nodes for which something of their own changed since the last call, with what to send. */
  take(wanted: (node: string) => boolean): Map<string, NodeItems> {
    const dirty = this.#dirty;
    this.#dirty = new Map();
    const packed = new Map<string, Buffer | undefined>();
    const result = new Map<string, NodeItems>();
    for (const [node, keys] of dirty) if (wanted(node)) result.set(node, this.#collect(node, keys, packed));
    return result;
  }

  /** What an agent that holds `held` needs. */
  resume(node: string, held: { readonly epoch: string; readonly revision: number }): Resumption {
    const entry = this.#nodes.get(node);
    const complete = held.epoch !== this.epoch || held.revision === 0;
    const from = complete ? 0 : held.revision;
    const keys = new Set<string>();
    for (const [pod, { dependencies }] of entry?.pods ?? []) {
      const { changed, entered } = complete ? { changed: true, entered: true } : this.#changesSince(node, pod, from);
      for (const key of dependencies) if (entered || this.#dependency(key).revision > from) keys.add(key);
      if (changed) keys.add(`pod/${pod}`);
    }
    const own = this.#collect(node, keys, new Map());
    const revision = this.#revision;
    if (complete) return { from: 0, revision, items: own.items, removed: [], expected: this.expected(node) };
    const shared = this.services.since(from);
    const removed = (entry?.tombstones.since(from) ?? []).filter((key) => !keys.has(key));
    return { from, revision, items: [...shared.items, ...own.items], removed: [...shared.removed, ...own.removed, ...removed], expected: this.expected(node) };
  }

  /** Notes what a node's agent knows, of `agentKnows`; what it does not is not sent to it, nor are new pods that need it. */
  knownTo(node: string, knows: readonly string[]): void {
    const unknown = laterTypes.filter((type) => !knows.includes(type));
    if (unknown.length > 0) this.#unknown.set(node, new Set(unknown));
    else this.#unknown.delete(node);
  }

  /** Whether a pod of that uid is this node's. */
  has(node: string, namespace: string, name: string, uid: string): boolean {
    return this.#nodes.get(node)?.pods.get(`${namespace}/${name}`)?.uid === uid;
  }

  #apply(change: KindChange): void {
    switch (change.kind.prefix) {
      case services.prefix: case endpointSlices.prefix: this.services.apply(change); break;
      case pods.prefix: this.#applyPod(change); break;
      case configMaps.prefix: case secrets.prefix: case persistentVolumeClaims.prefix: this.#applyDependency(change); break;
    }
    this.#revision = change.revision;
  }

  /** Takes a deletion from before this index was made. */
  #deletedBefore(change: KindChange): void {
    switch (change.kind.prefix) {
      case services.prefix: case endpointSlices.prefix: this.services.removedBefore(change); break;
      case pods.prefix: this.#applyPod(change); break;
      case configMaps.prefix: case secrets.prefix: case persistentVolumeClaims.prefix: this.#applyDependency(change); break;
    }
  }

  #applyPod(change: KindChange): void {
    const pod = change.object as Pod;
    if (change.type !== 'DELETED') return this.#place(pod, change.revision, true, change);
    const key = `${change.namespace}/${change.name}`;
    const known = this.#nodes.get(this.#places.get(key) ?? '')?.pods.get(key);
    if (known && known.revision > change.revision) return;
    const node = this.#places.get(key) ?? pod.spec.nodeName;
    if (known) this.#displace(key, change.revision);
    else if (node) this.#goneBefore(node, key, pod, change.revision);
  }

  /** A pod that went before this index was made: its agent may still hold it, and what only it needed. */
  #goneBefore(node: string, key: string, pod: Pod, revision: number): void {
    const { tombstones } = this.#node(node);
    tombstones.add(`pod/${key}`, revision);
    for (const dependency of dependenciesOf(pod)) if (!this.#users.get(dependency)?.nodes.has(node)) tombstones.add(dependency, revision);
  }

  #applyDependency(change: KindChange): void {
    const key: DependencyKey = `${dependencyType(change.kind.prefix)}/${change.namespace}/${change.name}`;
    const used = this.#users.get(key);
    if (!used) return;
    used.exists = change.type !== 'DELETED';
    for (const node of used.nodes.keys()) {
      if (change.type === 'DELETED') this.#node(node).tombstones.add(key, change.revision);
      else this.#node(node).tombstones.delete(key);
      this.#mark(node, key);
    }
  }

  #place(pod: Pod, revision: number, exact: boolean, change?: KindChange): void {
    const { nodeName } = pod.spec;
    if (!nodeName) return;
    const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const node = this.#node(nodeName);
    const known = node.pods.get(key);
    if (known && known.revision >= revision) return;
    const dependencies = dependenciesOf(pod);
    const stays = known !== undefined && known.uid === pod.metadata.uid && String(known.dependencies) === String(dependencies);
    const same = stays && change?.previous !== undefined && sameForAgent(change.previous as Pod, pod);
    node.pods.set(key, {
      uid: pod.metadata.uid ?? '', revision, started: pod.status.startTime !== undefined, exact: stays ? known.exact : exact, dependencies: stays ? known.dependencies : dependencies,
      since: same ? known.since : revision, entered: stays ? known.entered : revision,
    });
    this.#places.set(key, nodeName);
    node.tombstones.delete(`pod/${key}`);
    if (!stays) {
      this.#use(nodeName, dependencies, 1, revision);
      if (known) this.#use(nodeName, known.dependencies, -1, revision);
    }
    if (!same) this.#mark(nodeName, `pod/${key}`);
  }

  #displace(key: string, revision: number): void {
    const node = this.#places.get(key) ?? '';
    const entry = this.#node(node);
    const known = entry.pods.get(key);
    entry.pods.delete(key);
    this.#places.delete(key);
    entry.tombstones.add(`pod/${key}`, revision);
    this.#mark(node, `pod/${key}`);
    if (known) this.#use(node, known.dependencies, -1, revision);
  }

  /** Counts uses of dependencies; what gets its first is to be sent, what loses its last is to be removed. */
  #use(node: string, keys: readonly DependencyKey[], by: 1 | -1, revision: number): void {
    for (const key of keys) {
      const used = this.#users.get(key) ?? { exists: this.#dependency(key).revision > 0, nodes: new Map<string, number>() };
      this.#users.set(key, used);
      const count = (used.nodes.get(node) ?? 0) + by;
      if (count > 0) used.nodes.set(node, count);
      else used.nodes.delete(node);
      if (used.nodes.size === 0) this.#users.delete(key);
      if (count === 0) this.#node(node).tombstones.add(key, revision);
      else this.#node(node).tombstones.delete(key);
      if (count === 0 || (count === 1 && by === 1)) this.#mark(node, key);
    }
  }

  #mark(node: string, key: string): void {
    const keys = this.#dirty.get(node);
    if (keys) keys.add(key);
    else this.#dirty.set(node, new Set([key]));
  }

  #node(name: string): NodeEntry {
    let entry = this.#nodes.get(name);
    if (!entry) this.#nodes.set(name, entry = { pods: new Map(), tombstones: new Tombstones(maxTombstones, this.#horizon) });
    return entry;
  }

  /** Whether a pod's item changed after `from`, and whether it came to the node after it. */
  #changesSince(node: string, key: string, from: number): { changed: boolean; entered: boolean } {
    const entry = this.#nodes.get(node)!.pods.get(key)!;
    if (entry.since <= from) return { changed: false, entered: false };
    if (entry.exact) return { changed: true, entered: entry.entered > from };
    const now = this.#pod(key);
    const then = this.#podAt(entry.revision, from);
    const there = then?.spec.nodeName === node && then.metadata.uid === entry.uid && String(dependenciesOf(then)) === String(entry.dependencies);
    return { changed: !there || !now || !sameForAgent(then, now), entered: !there };
  }

  /** The version of a pod that was current at `from`, if the store still knows. */
  #podAt(revision: number, from: number): Pod | undefined {
    for (let step = 0; step < maxSteps && revision > 0; step++) {
      const change = this.#registry.store.at(revision);
      if (!change) return undefined;
      if (revision <= from) return change.type === 'put' ? this.#registry.wrap<Pod>(change).object : undefined;
      revision = change.previous;
    }
    return undefined;
  }

  #pod(key: string): Pod | undefined {
    const [namespace = '', name = ''] = key.split('/');
    return this.#registry.find(pods, namespace, name);
  }

  /** Items for `keys`, dependencies first; what does not exist or is no longer the node's is removed. */
  #collect(node: string, keys: ReadonlySet<string>, packed: Map<string, Buffer | undefined>): NodeItems {
    const items: Buffer[] = [];
    const removed: string[] = [];
    for (const key of [...keys].sort(podsLast)) {
      if (!packed.has(key)) packed.set(key, this.#pack(key));
      const item = this.#needs(node, key) && !this.#withheld(node, key) ? packed.get(key) : undefined;
      if (item) items.push(item);
      else removed.push(key);
    }
    return { items, removed };
  }

  /** Whether an item is kept from a node whose agent could do nothing with it. */
  #withheld(node: string, key: string): boolean {
    const unknown = this.#unknown.get(node);
    if (!unknown) return false;
    if (!key.startsWith('pod/')) return unknown.has(typeOf(key));
    const types = this.#tooNew(node, key.slice(4), unknown);
    const pod = types.length > 0 ? this.#pod(key.slice(4)) : undefined;
    if (pod) this.#onWithheld(node, pod, types);
    return types.length > 0;
  }

  /** Types that a pod needs and its agent does not know. One that has begun stays its agent's: it runs. */
  #tooNew(node: string, pod: string, unknown: ReadonlySet<string>): string[] {
    const entry = this.#nodes.get(node)?.pods.get(pod);
    return !entry || entry.started ? [] : [...new Set(entry.dependencies.map(typeOf))].filter((type) => unknown.has(type));
  }

  #needs(node: string, key: string): boolean {
    return key.startsWith('pod/') ? this.#places.get(key.slice(4)) === node : this.#users.get(key as DependencyKey)?.nodes.has(node) === true;
  }

  #pack(key: string): Buffer | undefined {
    const [type = '', namespace = '', name = ''] = key.split('/');
    if (type === 'pod') return packed(this.#registry.stored(pods, namespace, name), (pod, revision) => podItem(pod, revision, this.#handlerOf(pod)));
    if (type === 'secret') return packed(this.#registry.stored(secrets, namespace, name), secretItem);
    if (type === 'claim') return packed(this.#registry.stored(persistentVolumeClaims, namespace, name), (claim, revision) => claimItem(claim, revision, this.#volumeOf(claim)));
    return packed(this.#registry.stored(configMaps, namespace, name), configMapItem);
  }

  /** A class's handler cannot change. */
  #handlerOf({ spec }: Pod): string | undefined {
    return spec.runtimeClassName ? this.#registry.find(runtimeClasses, '', spec.runtimeClassName)?.handler : undefined;
  }

  #volumeOf(claim: PersistentVolumeClaim) {
    return isBound(claim) ? this.#registry.find(persistentVolumes, '', claim.spec.volumeName ?? '') : undefined;
  }

  #dependency(key: DependencyKey): { revision: number } {
    const [type, namespace = '', name = ''] = key.split('/');
    return this.#registry.stored(dependencyKinds[type as keyof typeof dependencyKinds], namespace, name) ?? { revision: 0 };
  }

  /** How many items a node holds that has everything. */
  expected(node: string): number {
    const entry = this.#nodes.get(node);
    const dependencies = new Set([...(entry?.pods.values() ?? [])].flatMap((pod) => pod.dependencies));
    const unknown = this.#unknown.get(node);
    const existing = [...dependencies].filter((key) => this.#users.get(key)?.exists && !unknown?.has(typeOf(key)));
    const withheld = unknown ? [...(entry?.pods.keys() ?? [])].filter((pod) => this.#tooNew(node, pod, unknown).length > 0) : [];
    return this.services.size + (entry?.pods.size ?? 0) - withheld.length + existing.length;
  }
}

const dependencyKinds = { secret: secrets as unknown as Kind, configMap: configMaps as unknown as Kind, claim: persistentVolumeClaims as unknown as Kind };

/** Kinds that are read at the start: all else is looked up when it is needed. */
const readAtStart: readonly Kind[] = [services as unknown as Kind, endpointSlices as unknown as Kind, pods as unknown as Kind];

const typeOf = (key: string): string => key.slice(0, key.indexOf('/'));
/** Types of items that not every agent knows. */
const laterTypes: readonly string[] = agentKnows.filter((name) => name in dependencyKinds);

const dependencyType = (prefix: string): keyof typeof dependencyKinds =>
  (prefix === secrets.prefix ? 'secret' : prefix === configMaps.prefix ? 'configMap' : 'claim');

const packed = <T extends KubeObject>(stored: Stored<T> | undefined, make: (object: T, revision: number) => Item): Buffer | undefined =>
  stored && packItem(make(stored.object, stored.revision));

const podsLast = (a: string, b: string): number => Number(a.startsWith('pod/')) - Number(b.startsWith('pod/')) || (a < b ? -1 : 1);
