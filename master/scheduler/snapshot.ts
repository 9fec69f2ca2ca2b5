import { isDeepStrictEqual } from 'node:util';
import type { Node, Taint } from '../../shared/kinds/node.ts';
import { amountsOf, type HostPort, type Shape } from './shape.ts';

/** What plugins may ask of a node beside numbers. */
export interface NodeFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
  readonly unschedulable: boolean;
}

/** One resource of all nodes, by slot. */
interface Column { allocatable: Float64Array; requested: Float64Array }

interface PodRecord { readonly slot: number; readonly shape: Shape }

const noFacts: NodeFacts = { name: '', labels: {}, taints: [], unschedulable: true };

/**
 * All nodes and what is on them, as the scheduler sees them: the committed state, and pods that it has placed but not
 * bound yet. A node has a slot, a small number; amounts are columns of numbers by slot, so that looking at all nodes
 * touches little memory. Every slot that changes is noted, so that whoever keeps something per node looks at those only.
 */
export class Snapshot {
  #capacity = 64;
  readonly #slots = new Map<string, number>();
  readonly #facts: NodeFacts[] = [];
  readonly #free: number[] = [];
  readonly #columns = new Map<string, Column>();
  readonly #pods = new Map<string, PodRecord>();
  readonly #podCounts: number[] = [];
  readonly #ports: (Map<string, number> | undefined)[] = [];
  readonly #groups = new Map<string, Map<number, number>>();
  readonly #claims = new Map<string, number>();
  #expectedCpu = new Float64Array(64);
  #expectedMemory = new Float64Array(64);
  #log: number[] = [];
  #logStart = 0;
  #nodes = 0;

  /** Nodes that exist. */
  get nodeCount(): number { return this.#nodes; }

  /** Slots are below this number; not all of them are nodes. */
  get slotCount(): number { return this.#facts.length; }

  exists(slot: number): boolean { return this.#facts[slot] !== noFacts && this.#facts[slot] !== undefined; }

  facts(slot: number): NodeFacts { return this.#facts[slot] ?? noFacts; }

  slotOf(node: string): number | undefined { return this.#slots.get(node); }

  allocatable(resource: string, slot: number): number { return this.#columns.get(resource)?.allocatable[slot] ?? 0; }

  requested(resource: string, slot: number): number { return this.#columns.get(resource)?.requested[slot] ?? 0; }

  /** The amounts of a resource themselves, for loops over many slots; valid until the number of slots grows. */
  column(resource: string): Readonly<Column> { return this.#column(resource); }

  /** CPU that pods on a node are expected to use, in thousandths. */
  expectedCpu(slot: number): number { return this.#expectedCpu[slot]!; }

  expectedMemory(slot: number): number { return this.#expectedMemory[slot]!; }

  podCount(slot: number): number { return this.#podCounts[slot] ?? 0; }

  /** Pods of a group on a node. */
  groupCount(group: string, slot: number): number { return this.#groups.get(group)?.get(slot) ?? 0; }

  /** Pods with a place that use a claim. */
  claimUsers(claim: string): number { return this.#claims.get(claim) ?? 0; }

  /** Whether a host port is taken; an address of 0.0.0.0 clashes with all. */
  portTaken({ ip, protocol, port }: HostPort, slot: number): boolean {
    const taken = this.#ports[slot];
    if (!taken) return false;
    if (ip !== '0.0.0.0') return taken.has(`${protocol}/${port}/${ip}`) || taken.has(`${protocol}/${port}/0.0.0.0`);
    for (const key of taken.keys()) if (key.startsWith(`${protocol}/${port}/`)) return true;
    return false;
  }

  hasPod(podKey: string): boolean { return this.#pods.has(podKey); }

  /** Position in the log of changed slots; see {@link changedSince}. */
  get position(): number { return this.#logStart + this.#log.length; }

  /** Slots changed since a position, possibly repeated; undefined when that is too long ago. */
  changedSince(position: number): readonly number[] | undefined {
    return position < this.#logStart ? undefined : this.#log.slice(position - this.#logStart);
  }

  /** Takes a node in; false when nothing changed that matters to scheduling, as with most heartbeats. */
  setNode(node: Node): boolean {
    const name = node.metadata.name ?? '';
    const slot = this.#slotFor(name);
    const facts: NodeFacts = {
      name, labels: node.metadata.labels ?? {}, taints: node.spec.taints ?? [], unschedulable: node.spec.unschedulable ?? false,
    };
    const amounts = amountsOf(node.status.allocatable);
    const known = this.exists(slot);
    if (known && isDeepStrictEqual(facts, this.#facts[slot]) && this.#sameAmounts(slot, amounts)) return false;
    if (!known) this.#nodes += 1;
    this.#facts[slot] = facts;
    for (const name of amounts.keys()) this.#column(name);
    for (const [name, column] of this.#columns) column.allocatable[slot] = amounts.get(name) ?? 0;
    this.#touch(slot);
    return true;
  }

  /** Forgets a node. Pods bound to it stay known, in case that it comes back under its name. */
  removeNode(name: string): void {
    const slot = this.#slots.get(name);
    if (slot === undefined || !this.exists(slot)) return;
    this.#facts[slot] = noFacts;
    this.#nodes -= 1;
    for (const column of this.#columns.values()) column.allocatable[slot] = 0;
    this.#touch(slot);
    this.#freeIfUnused(name, slot);
  }

  /** Notes that a pod is, or is about to be, on a node. Nothing happens if that is known. */
  setPod(podKey: string, shape: Shape, node: string): void {
    const slot = this.#slotFor(node);
    const known = this.#pods.get(podKey);
    if (known?.slot === slot) return;
    if (known) this.removePod(podKey);
    this.#pods.set(podKey, { slot, shape });
    this.#count(shape, slot, 1);
  }

  /** Returns the slot that has become roomier, or undefined for a pod that was not on any node. */
  removePod(podKey: string): number | undefined {
    const known = this.#pods.get(podKey);
    if (!known) return undefined;
    this.#pods.delete(podKey);
    this.#count(known.shape, known.slot, -1);
    if (!this.exists(known.slot)) this.#freeUnnamed(known.slot);
    return known.slot;
  }

  #countClaims({ claims }: Shape, sign: 1 | -1): void {
    for (const { key } of claims) {
      const users = this.claimUsers(key) + sign;
      if (users > 0) this.#claims.set(key, users);
      else this.#claims.delete(key);
    }
  }

  #count(shape: Shape, slot: number, sign: 1 | -1): void {
    for (const [name, amount] of shape.requests) this.#column(name).requested[slot]! += sign * amount;
    this.#expectedCpu[slot]! += sign * shape.expectedCpu;
    this.#expectedMemory[slot]! += sign * shape.expectedMemory;
    this.#podCounts[slot] = (this.#podCounts[slot] ?? 0) + sign;
    if (shape.claims.length > 0) this.#countClaims(shape, sign);
    if (shape.ports.length > 0) this.#countPorts(shape.ports, slot, sign);
    if (shape.group) this.#countGroup(shape.group, slot, sign);
    this.#touch(slot);
  }

  #countPorts(ports: readonly HostPort[], slot: number, sign: 1 | -1): void {
    const taken = this.#ports[slot] ??= new Map();
    for (const { ip, protocol, port } of ports) {
      const key = `${protocol}/${port}/${ip}`;
      const count = (taken.get(key) ?? 0) + sign;
      if (count > 0) taken.set(key, count);
      else taken.delete(key);
    }
  }

  #countGroup(group: string, slot: number, sign: 1 | -1): void {
    let counts = this.#groups.get(group);
    if (!counts) this.#groups.set(group, counts = new Map());
    const count = (counts.get(slot) ?? 0) + sign;
    if (count > 0) counts.set(slot, count);
    else if (counts.delete(slot) && counts.size === 0) this.#groups.delete(group);
  }

  #touch(slot: number): void {
    this.#log.push(slot);
    if (this.#log.length <= Math.max(4096, 4 * this.#facts.length)) return;
    this.#logStart += this.#log.length;
    this.#log = [];
  }

  #sameAmounts(slot: number, amounts: ReadonlyMap<string, number>): boolean {
    for (const name of amounts.keys()) if (!this.#columns.has(name)) return false;
    for (const [name, column] of this.#columns) if (column.allocatable[slot] !== (amounts.get(name) ?? 0)) return false;
    return true;
  }

  #column(resource: string): Column {
    let column = this.#columns.get(resource);
    if (!column) this.#columns.set(resource, column = { allocatable: new Float64Array(this.#capacity), requested: new Float64Array(this.#capacity) });
    return column;
  }

  #slotFor(name: string): number {
    const known = this.#slots.get(name);
    if (known !== undefined) return known;
    const slot = this.#free.pop() ?? this.#facts.length;
    if (slot >= this.#capacity) this.#grow();
    this.#facts[slot] = noFacts;
    this.#slots.set(name, slot);
    return slot;
  }

  #grow(): void {
    this.#capacity *= 2;
    const grown = (old: Float64Array): Float64Array<ArrayBuffer> => {
      const array = new Float64Array(this.#capacity);
      array.set(old);
      return array;
    };
    for (const column of this.#columns.values()) {
      column.allocatable = grown(column.allocatable);
      column.requested = grown(column.requested);
    }
    this.#expectedCpu = grown(this.#expectedCpu);
    this.#expectedMemory = grown(this.#expectedMemory);
  }

  #freeIfUnused(name: string, slot: number): void {
    if (this.podCount(slot) > 0) return;
    this.#slots.delete(name);
    this.#free.push(slot);
  }

  #freeUnnamed(slot: number): void {
    for (const [name, candidate] of this.#slots) if (candidate === slot) return this.#freeIfUnused(name, slot);
  }
}
