import type { Clock } from '../../shared/clock.ts';
import type { Container } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { addQuantity, canonicalQuantity, compareQuantity, parseQuantity } from '../../shared/quantity.ts';
import { amount } from '../runtime/amount.ts';
import { label, sandboxName } from '../runtime/labels.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Volumes } from '../volumes/index.ts';
import { currentOf, type ContainerView } from './view.ts';

const resource = 'ephemeral-storage';

export interface StorageLimitsOptions {
  readonly clock: Clock;
  readonly runtime: Pick<Runtime, 'writtenBytes' | 'logBytes'>;
  readonly volumes: Pick<Volumes, 'usage'>;
}

/** A pod and its containers. */
export interface StorageUser { readonly pod: Pod; readonly views: readonly ContainerView[] }

/** What a pod takes of the disk, in bytes: each running container with its log, by name; and its emptyDirs. */
export interface StorageUse { readonly containers: ReadonlyMap<string, number>; readonly volumes: number }

/** The engine walks through all that a container has written to tell how much it is: so seldom is it asked, and for so small a share of the time. */
const engineEveryMs = 30_000;
const engineShare = 0.02;

/** Whether pods keep to the `ephemeral-storage` limits of their containers; measures only those that have some. */
export class StorageLimits {
  readonly #options: StorageLimitsOptions;
  /** By container id, as the engine last said. */
  #written: ReadonlyMap<string, number> = new Map();
  #engineDueMs = -Infinity;

  constructor(options: StorageLimitsOptions) {
    this.#options = options;
  }

  /** Which of some pods take more than they may, and the kubelet's words for it. What cannot be measured counts as nothing. @throws RuntimeError */
  async exceeding<T extends StorageUser>(users: readonly T[]): Promise<Map<T, string>> {
    const limited = users.filter(({ pod }) => storageLimit(pod) !== undefined);
    await this.#askEngine(limited);
    const found = new Map<T, string>();
    for (const user of limited) {
      const message = exceededStorage(user.pod, await this.#use(user));
      if (message) found.set(user, message);
    }
    return found;
  }

  /** Asks pod by pod: nobody else's files are walked through. */
  async #askEngine(users: readonly StorageUser[]): Promise<void> {
    const { clock, runtime } = this.#options;
    const begunMs = clock.monotonic();
    if (users.length === 0 || begunMs < this.#engineDueMs) return;
    // An engine that does not answer is not asked again at once either.
    this.#engineDueMs = begunMs + engineEveryMs;
    const written = new Map<string, number>();
    for (const { pod } of users) for (const [id, bytes] of await runtime.writtenBytes(label.podUid, pod.metadata.uid ?? '')) written.set(id, bytes);
    this.#written = written;
    this.#engineDueMs = begunMs + Math.max(engineEveryMs, (clock.monotonic() - begunMs) / engineShare);
  }

  async #use({ pod, views }: StorageUser): Promise<StorageUse> {
    const { runtime, volumes } = this.#options;
    const running = views.filter((view) => view.state === 'running' && view.name !== sandboxName && view === currentOf(views, view.name));
    const containers = await Promise.all(running.map(async ({ id, name }) => [name, (this.#written.get(id) ?? 0) + await runtime.logBytes(id)] as const));
    const stored = await volumes.usage(pod, 'disk').catch(() => new Map<string, number>());
    return { containers: new Map(containers), volumes: [...stored.values()].reduce((sum, bytes) => sum + bytes, 0) };
  }
}

/** What the kubelet says of a pod that takes more than all its containers together may, or of the first container that takes more than its own limit. Pure. */
export function exceededStorage(pod: Pod, { containers, volumes }: StorageUse): string | undefined {
  const limit = storageLimit(pod);
  if (limit === undefined) return undefined;
  const total = [...containers.values()].reduce((sum, bytes) => sum + bytes, volumes);
  if (total > parseQuantity(limit)) return `Pod ephemeral local storage usage exceeds the total limit of containers ${limit}. `;
  for (const { name, resources } of pod.spec.containers) {
    const own = resources?.limits?.[resource];
    // A limit of 0 is none, as upstream.
    if (amount(own) && (containers.get(name) ?? 0) > parseQuantity(own!)) return `Container ${name} exceeded its local ephemeral storage limit ${JSON.stringify(canonicalQuantity(own!))}. `;
  }
  return undefined;
}

/**
 * What all containers of a pod together may take, as a canonical quantity; undefined when none of them has a limit. Sidecars add to
 * the others; of init containers, which run one after the other, the one counts that may take most. Pure.
 */
export function storageLimit({ spec }: Pod): string | undefined {
  const limitOf = ({ resources }: Container): string | undefined => resources?.limits?.[resource];
  let sidecars: string | undefined;
  let most: string | undefined;
  for (const container of spec.initContainers ?? []) {
    const sum = plus(sidecars, limitOf(container));
    if (container.restartPolicy === 'Always') sidecars = sum;
    if (sum !== undefined && (most === undefined || compareQuantity(sum, most) > 0)) most = sum;
  }
  const apps = spec.containers.map(limitOf).reduce(plus, sidecars);
  const limit = apps === undefined || (most !== undefined && compareQuantity(most, apps) > 0) ? most : apps;
  return limit === undefined || amount(limit) === 0 ? limit : plus(limit, spec.overhead?.[resource]);
}

function plus(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a === undefined ? b && canonicalQuantity(b) : a;
  return addQuantity(a, b);
}
