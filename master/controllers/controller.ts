import type { Clock } from '../../shared/clock.ts';
import type { Kind } from '../../shared/kind.ts';
import type { Log } from '../../shared/log.ts';
import { controllerOf, keyOf, type KubeObject } from '../../shared/meta.ts';
import { Queue, type Again } from '../../shared/queue.ts';
import { Scope } from '../../shared/scope.ts';
import type { EventRecorder } from '../registry/events.ts';
import { follow } from '../registry/follow.ts';
import type { Registry } from '../registry/registry.ts';
import type { KindChange } from '../registry/types.ts';
import { Indexes } from './indexes.ts';
import type { Settings } from './settings.ts';

/** What a controller works with. One instance serves all of them. */
export interface Context {
  readonly registry: Registry;
  readonly recorder: Pick<EventRecorder, 'event'>;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
  readonly settings: Settings;
  readonly indexes: Indexes;
  /**
   * Resolves when the indexes hold the change of a revision. Whoever creates objects that it finds through an index
   * awaits this before its run of the key ends, so that the next run cannot miss them.
   */
  readonly seen: (revision: number) => Promise<void>;
}

/** Keys to run because of a change. At the start every object of the kind is seen once, as an ADDED change. */
export interface Watch {
  readonly kind: Kind;
  readonly keys: (change: KindChange, context: Context) => Iterable<string>;
}

export interface Controller {
  readonly name: string;
  /** Changes of this kind run the object's own key, `namespace/name` or `name`. */
  readonly for?: Kind;
  /** Changes of objects of these kinds run the key of their managing controller, if that is of kind `for`. */
  readonly owns?: readonly Kind[];
  readonly watches?: readonly Watch[];
  /** Keys run beside those of existing objects when the master starts. */
  readonly initialKeys?: (context: Context) => Iterable<string>;
  /** Keys run at a time. Default 8. */
  readonly concurrency?: number;
  /** Runs every object of kind `for`, and the initial keys, this often though nothing changed. */
  readonly resyncMs?: number;
  /**
   * Moves the world towards what the object says. Reads committed state only, never learns which change woke it,
   * and may be run again at any time. A throw is retried with backoff.
   */
  readonly reconcile: (key: string, context: Context, signal: AbortSignal) => Promise<Again | void>;
}

/** A kind of any object type; the registry only hands a kind's hooks objects of that kind. */
export const some = <T extends KubeObject>(kind: Kind<T>): Kind => kind as unknown as Kind;

export const defineController = (controller: Controller): Controller => controller;

export interface ControllersOptions extends Omit<Context, 'indexes' | 'seen'> {
  /** Called once when every existing object has been looked at and the controllers work. */
  readonly onStarted?: () => void;
}

/** Runs controllers until `signal` aborts. */
export async function runControllers(definitions: readonly Controller[], options: ControllersOptions, signal: AbortSignal): Promise<void> {
  await new Runtime(definitions, options).run(signal);
}

interface Unit { readonly controller: Controller; readonly queue: Queue }

/** One subscription for all controllers: it keeps the indexes, then turns changes into keys. */
class Runtime {
  readonly #options: ControllersOptions;
  readonly #context: Context;
  readonly #units: readonly Unit[];
  readonly #watches = new Map<Kind, { queue: Queue; keys: Watch['keys'] }[]>();
  readonly #waiting: { revision: number; resolve: () => void }[] = [];
  #seen = 0;

  constructor(definitions: readonly Controller[], options: ControllersOptions) {
    this.#options = options;
    this.#context = { ...options, indexes: new Indexes(options.registry), seen: (revision) => this.#until(revision) };
    this.#units = definitions.map((controller) => ({ controller, queue: this.#queueOf(controller) }));
    for (const unit of this.#units) for (const watch of watchesOf(unit.controller)) this.#watch(unit.queue, watch);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { registry } = this.#options;
    this.#seen = registry.store.revision;
    signal.addEventListener('abort', () => this.#release(), { once: true });
    await follow(registry, registry.kinds, { onChange: (change) => this.#apply(change), onBatch: (revision) => this.#advance(revision) }, signal);
    if (!signal.aborted) await this.#work(signal);
  }

  async #work(signal: AbortSignal): Promise<void> {
    const scope = new Scope(signal);
    for (const unit of this.#units) {
      for (const key of unit.controller.initialKeys?.(this.#context) ?? []) unit.queue.add(key);
      scope.start((inner) => unit.queue.run(inner));
      if (unit.controller.resyncMs) this.#resyncEvery(unit, unit.controller.resyncMs, scope.signal);
    }
    this.#options.onStarted?.();
    await scope.wait();
  }

  /** Nothing is delivered after an abort: whoever waits for a revision must not wait for ever. */
  #release(): void {
    this.#seen = Infinity;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #queueOf(controller: Controller): Queue {
    const { clock, log, random } = this.#options;
    const context = { ...this.#context, log: log.named(controller.name) };
    return new Queue({
      clock, random, log: context.log, concurrency: controller.concurrency ?? 8,
      run: (key, signal) => controller.reconcile(key, context, signal),
    });
  }

  #watch(queue: Queue, { kind, keys }: Watch): void {
    const watchers = this.#watches.get(kind);
    if (watchers) watchers.push({ queue, keys });
    else this.#watches.set(kind, [{ queue, keys }]);
  }

  /** Indexes a change and queues what it concerns. */
  #apply(change: KindChange): void {
    this.#context.indexes.apply(change);
    for (const { queue, keys } of this.#watches.get(change.kind) ?? []) {
      for (const key of keys(change, this.#context)) queue.add(key);
    }
  }

  #advance(revision: number): void {
    this.#seen = revision;
    for (const waiter of this.#waiting.splice(0)) {
      if (waiter.revision <= this.#seen) waiter.resolve();
      else this.#waiting.push(waiter);
    }
  }

  #until(revision: number): Promise<void> {
    if (revision <= this.#seen) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ revision, resolve }));
  }

  #resyncEvery(unit: Unit, everyMs: number, signal: AbortSignal): void {
    const { clock, registry } = this.#options;
    let cancel = (): void => {};
    const again = (): void => {
      for (const key of unit.controller.initialKeys?.(this.#context) ?? []) unit.queue.add(key);
      const kind = unit.controller.for;
      if (kind) for (const { key } of registry.store.range(kind.prefix)) unit.queue.add(key.slice(kind.prefix.length));
      cancel = clock.after(everyMs, again);
    };
    cancel = clock.after(everyMs, again);
    signal.addEventListener('abort', () => cancel(), { once: true });
  }
}

function* watchesOf(controller: Controller): Generator<Watch> {
  const owner = controller.for;
  if (owner) yield { kind: owner, keys: (change) => [keyOf(change.object)] };
  if (owner) for (const kind of controller.owns ?? []) yield { kind, keys: (change) => ownerKeys(owner, change) };
  yield* controller.watches ?? [];
}

/** Keys of the managing controllers that a dependent has and had. */
export function ownerKeys(owner: Kind, change: KindChange): Set<string> {
  const keys = new Set<string>();
  for (const object of [change.object, change.previous]) {
    const reference = object && controllerOf(object);
    if (reference?.kind === owner.kind && groupOf(reference.apiVersion) === owner.group) {
      keys.add(owner.namespaced ? `${change.namespace}/${reference.name}` : reference.name);
    }
  }
  return keys;
}

/** `apps` of `apps/v1`; `''` of `v1`. */
export const groupOf = (apiVersion: string): string => (apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '');
