import { nodes } from '../../shared/kinds/node.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { replicationControllers, type ReplicationController } from '../../shared/kinds/replicationcontroller.ts';
import { services, type Service } from '../../shared/kinds/service.ts';
import { nothing, type Labels, type Selector } from '../../shared/selector.ts';
import { storeKey, type Registry } from '../registry/registry.ts';
import type { KindChange } from '../registry/types.ts';
import { SelectorIndex } from './index-selectors.ts';
import { isEnded } from './pod.ts';

/** Pods of one namespace with equal labels: the replicas of one controller share a group. */
interface PodGroup {
  readonly key: string;
  readonly labels: Labels;
  readonly names: Set<string>;
}

interface PodRecord {
  readonly group: PodGroup;
  readonly node: string;
}

/**
 * Ways to objects by what they refer to, kept in memory as keys only; the objects come from the registry.
 * About half a kilobyte per pod with its owner and node. Pods are grouped by label set, so that a selector is matched once per set and not per pod.
 */
export class Indexes {
  readonly #registry: Registry;
  readonly #dependents = new Map<string, Set<string>>();
  readonly #owners = new Map<string, readonly string[]>();
  readonly #pods = new Map<string, PodRecord>();
  readonly #groups = new Map<string, Map<string, PodGroup>>();
  readonly #byNode = new Map<string, Set<string>>();
  readonly #ended = new Set<string>();
  readonly #existing = new Set<string>();
  /** Services by the pods that they select. */
  readonly services = new SelectorIndex();
  /** Replication controllers by the pods that they select. */
  readonly replicationControllers = new SelectorIndex();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  apply(change: KindChange): void {
    const key = storeKey(change.kind, change.namespace, change.name);
    const gone = change.type === 'DELETED';
    this.#setOwners(key, gone ? [] : (change.object.metadata.ownerReferences ?? []).map((owner) => owner.uid));
    switch (change.kind.prefix) {
      case pods.prefix: this.#setPod(change, gone ? undefined : change.object as Pod); break;
      case nodes.prefix: if (gone) this.#existing.delete(change.name); else this.#existing.add(change.name); break;
      case services.prefix: this.services.set(change.namespace, change.name, gone ? undefined : (change.object as Service).spec.selector); break;
      case replicationControllers.prefix:
        this.replicationControllers.set(change.namespace, change.name, gone ? undefined : (change.object as ReplicationController).spec.selector);
    }
  }

  /** Store keys of the objects that name this uid as an owner. */
  dependents(uid: string): Iterable<string> {
    return this.#dependents.get(uid) ?? [];
  }

  /** Pods that name this uid as an owner. */
  podsOf(uid: string): Pod[] {
    const found: Pod[] = [];
    for (const key of this.dependents(uid)) {
      if (key.startsWith(pods.prefix)) this.#push(found, key.slice(pods.prefix.length));
    }
    return found;
  }

  /** Pods of a namespace whose labels match. */
  podsMatching(namespace: string, selector: Selector): Pod[] {
    const found: Pod[] = [];
    if (selector === nothing) return found;
    for (const group of this.#groups.get(namespace)?.values() ?? []) {
      if (!selector.matches(group.labels)) continue;
      for (const name of group.names) this.#push(found, `${namespace}/${name}`);
    }
    return found;
  }

  podsOnNode(node: string): Pod[] {
    const found: Pod[] = [];
    for (const key of this.#byNode.get(node) ?? []) this.#push(found, key);
    return found;
  }

  /** Names of the nodes that pods are bound to, whether they exist or not. */
  nodesWithPods(): Iterable<string> {
    return this.#byNode.keys();
  }

  /** Whether a node is known; while the store is being read at the start, one that exists may not be yet. */
  hasNode(name: string): boolean {
    return this.#existing.has(name);
  }

  /** Keys of pods that have succeeded or failed. */
  get endedPods(): ReadonlySet<string> {
    return this.#ended;
  }

  #push(found: Pod[], key: string): void {
    const slash = key.indexOf('/');
    const pod = this.#registry.find(pods, key.slice(0, slash), key.slice(slash + 1));
    if (pod) found.push(pod);
  }

  #setOwners(key: string, uids: readonly string[]): void {
    const before = this.#owners.get(key);
    if (!before && uids.length === 0) return;
    for (const uid of before ?? []) remove(this.#dependents, uid, key);
    for (const uid of uids) add(this.#dependents, uid, key);
    if (uids.length > 0) this.#owners.set(key, uids);
    else this.#owners.delete(key);
  }

  #setPod({ namespace, name }: KindChange, pod: Pod | undefined): void {
    const key = `${namespace}/${name}`;
    const before = this.#pods.get(key);
    const labels = pod?.metadata.labels ?? {};
    const groupKey = pod ? labelsKey(labels) : '';
    const node = pod?.spec.nodeName ?? '';
    if (before && (!pod || before.group.key !== groupKey)) this.#leaveGroup(namespace, name, before);
    if (before?.node && before.node !== node) remove(this.#byNode, before.node, key);
    if (pod && isEnded(pod)) this.#ended.add(key);
    else this.#ended.delete(key);
    if (!pod) this.#pods.delete(key);
    else if (before?.group.key !== groupKey || before.node !== node) {
      const group = this.#joinGroup(namespace, name, groupKey, labels);
      if (node) add(this.#byNode, node, key);
      this.#pods.set(key, { group, node });
    }
  }

  #joinGroup(namespace: string, name: string, groupKey: string, labels: Labels): PodGroup {
    let groups = this.#groups.get(namespace);
    if (!groups) this.#groups.set(namespace, groups = new Map());
    let group = groups.get(groupKey);
    if (!group) groups.set(groupKey, group = { key: groupKey, labels, names: new Set() });
    group.names.add(name);
    return group;
  }

  #leaveGroup(namespace: string, name: string, { group }: PodRecord): void {
    group.names.delete(name);
    if (group.names.size > 0) return;
    const groups = this.#groups.get(namespace);
    groups?.delete(group.key);
    if (groups?.size === 0) this.#groups.delete(namespace);
  }
}

/** The same text for the same labels in any order. */
export function labelsKey(labels: Labels): string {
  const keys = Object.keys(labels).sort();
  let text = '';
  for (const key of keys) text += `${key}=${labels[key]},`;
  return text;
}

function add(sets: Map<string, Set<string>>, at: string, key: string): void {
  const set = sets.get(at);
  if (set) set.add(key);
  else sets.set(at, new Set([key]));
}

function remove(sets: Map<string, Set<string>>, at: string, key: string): void {
  const set = sets.get(at);
  if (set?.delete(key) && set.size === 0) sets.delete(at);
}
