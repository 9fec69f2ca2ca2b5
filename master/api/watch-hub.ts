import type { Clock } from '../../shared/clock.ts';
import type { Kind } from '../../shared/kind.ts';
import type { Registry } from '../registry/registry.ts';
import type { KindChange } from '../registry/types.ts';
import type { Encoder } from './encoder.ts';
import type { Selection } from './select.ts';
import { eventLine, seenBy } from './watch-event.ts';
import { frame, type Framing, type Sink } from './watch-sink.ts';

/** One client's watch. */
export interface Watcher {
  readonly sink: Sink;
  readonly bookmarks: boolean;
  /** Newest revision that the client has been given, or begins after. */
  position: number;
  /** True until the first event: a table's first event names its columns. */
  first: boolean;
}

/** What a group's watchers have in common: they get the same bytes. */
export interface Subject {
  readonly kind: Kind;
  readonly selection: Selection;
  readonly encoder: Encoder;
  readonly framing: Framing;
  /** Equal for subjects whose encoders write the same. */
  readonly form: string;
}

interface Group extends Subject {
  readonly watchers: Set<Watcher>;
}

/** Groups of one kind by what they look at, so that a change meets only those that it may concern. */
interface KindGroups {
  readonly byKey: Map<string, Group>;
  readonly byScope: Map<string, Set<Group>>;
  /** Newest revision of a change of this kind. */
  changed: number;
}

/** Bytes that a client may leave untaken before it is cut off; it resumes from the last event that it got. */
const maxBacklog = 16 * 1024 * 1024;

const bookmarkMs = 60_000;

/**
 * Hands every change to the watchers that see it. Watchers of the same thing in the same form are a group, for which
 * all changes of one turn of the event loop are encoded once, into one buffer.
 */
export class WatchHub {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #kinds = new Map<Kind, KindGroups>();
  #pending: (readonly KindChange[])[] = [];
  #started = 0;
  #position = 0;

  constructor(registry: Registry, clock: Clock) {
    this.#registry = registry;
    this.#clock = clock;
  }

  /** Newest revision that live watchers have been given. */
  get position(): number {
    return this.#position;
  }

  /** Follows the registry until `signal` aborts. Watches may be joined once this was called. */
  async run(signal: AbortSignal): Promise<void> {
    this.#started = this.#position = this.#registry.store.revision;
    this.#registry.changes(this.#position, (changes) => this.#receive(changes), signal);
    this.#bookmarkLater(signal);
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  /** True when nothing of a kind changed after a revision, as far as live watchers were told: a watch from there is live at once. */
  isCurrent(kind: Kind, revision: number): boolean {
    return revision >= this.#position || revision >= (this.#kinds.get(kind)?.changed ?? this.#started);
  }

  /** Lets a watcher that is current have what comes next. Returns the way out. */
  join(subject: Subject, watcher: Watcher): () => void {
    const groups = this.#groupsOf(subject.kind);
    const group = this.#groupOf(groups, subject);
    group.watchers.add(watcher);
    return () => {
      group.watchers.delete(watcher);
      if (group.watchers.size === 0) this.#forget(groups, group);
    };
  }

  #groupsOf(kind: Kind): KindGroups {
    let groups = this.#kinds.get(kind);
    if (!groups) this.#kinds.set(kind, groups = { byKey: new Map(), byScope: new Map(), changed: this.#started });
    return groups;
  }

  #groupOf(groups: KindGroups, subject: Subject): Group {
    const key = keyOf(subject);
    let group = groups.byKey.get(key);
    if (group) return group;
    groups.byKey.set(key, group = { ...subject, watchers: new Set() });
    const scope = scopeOf(subject.selection);
    const others = groups.byScope.get(scope);
    if (others) others.add(group);
    else groups.byScope.set(scope, new Set([group]));
    return group;
  }

  #forget(groups: KindGroups, group: Group): void {
    groups.byKey.delete(keyOf(group));
    const scope = scopeOf(group.selection);
    const others = groups.byScope.get(scope);
    others?.delete(group);
    if (others?.size === 0) groups.byScope.delete(scope);
  }

  #receive(changes: readonly KindChange[]): void {
    if (this.#pending.length === 0) setImmediate(() => this.#flush());
    this.#pending.push(changes);
  }

  #flush(): void {
    const changes = this.#pending.length === 1 ? this.#pending[0]! : this.#pending.flat();
    this.#pending = [];
    const byGroup = new Map<Group, KindChange[]>();
    for (const change of changes) this.#sort(change, byGroup);
    this.#position = changes[changes.length - 1]!.revision;
    for (const [group, seen] of byGroup) deliver(group, seen);
  }

  /** Adds a change to each group that it may concern. */
  #sort(change: KindChange, byGroup: Map<Group, KindChange[]>): void {
    const groups = this.#groupsOf(change.kind);
    groups.changed = change.revision;
    for (const scope of scopesOf(change)) {
      for (const group of groups.byScope.get(scope) ?? []) {
        const seen = byGroup.get(group);
        if (seen) seen.push(change);
        else byGroup.set(group, [change]);
      }
    }
  }

  #bookmarkLater(signal: AbortSignal): void {
    const cancel = this.#clock.after(bookmarkMs, () => {
      for (const { byKey } of this.#kinds.values()) for (const group of byKey.values()) this.#bookmark(group);
      this.#bookmarkLater(signal);
    });
    signal.addEventListener('abort', cancel, { once: true });
  }

  #bookmark(group: Group): void {
    const bytes = bookmarkFrame(group, this.#position);
    for (const watcher of group.watchers) if (watcher.bookmarks && watcher.position <= this.#position) send(watcher, bytes);
  }
}

/** A bookmark in a subject's form. */
export function bookmarkFrame({ encoder, framing }: Subject, revision: number, annotations?: Readonly<Record<string, string>>): Buffer {
  return frame(framing, [eventLine('BOOKMARK', encoder.bookmark(String(revision), annotations))]);
}

/** The changes that a subject's watchers see, framed; undefined when there are none. */
export function encodeChanges({ selection, encoder, framing }: Subject, changes: readonly KindChange[], first: boolean): Buffer | undefined {
  const lines: Buffer[] = [];
  for (const change of changes) {
    const seen = seenBy(selection, change);
    if (seen) lines.push(eventLine(seen.type, encoder.event(seen.item, first && lines.length === 0)));
  }
  return lines.length > 0 ? frame(framing, lines) : undefined;
}

/** Writes to a watcher, and cuts off one that does not keep up. */
export function send({ sink }: Watcher, bytes: Buffer): void {
  if (!sink.send(bytes) && sink.backlog > maxBacklog) sink.destroy();
}

function deliver(group: Group, changes: readonly KindChange[]): void {
  const oldest = changes[0]!.revision;
  let shared: Buffer | undefined | false = false;
  for (const watcher of group.watchers) {
    if (watcher.first || watcher.position >= oldest) deliverAlone(group, watcher, changes);
    else {
      if (shared === false) shared = encodeChanges(group, changes, false);
      if (shared) send(watcher, shared);
    }
  }
}

/** For a watcher that joined between these changes, or has had no event yet. */
export function deliverAlone(subject: Subject, watcher: Watcher, changes: readonly KindChange[]): void {
  const unseen = changes.filter(({ revision }) => revision > watcher.position);
  const bytes = encodeChanges(subject, unseen, watcher.first);
  if (!bytes) return;
  watcher.first = false;
  send(watcher, bytes);
}

const keyOf = ({ selection, framing, form }: Subject): string => `${framing}\n${form}\n${selection.key}`;

/** What a selection pins down: one object, one namespace, or nothing. */
function scopeOf({ namespace, name }: Selection): string {
  return name ? `${namespace}/${name}` : namespace;
}

/** The scopes that a change lies in; an object is also looked for by name in all namespaces. */
function scopesOf({ namespace, name }: KindChange): string[] {
  return namespace ? ['', namespace, `${namespace}/${name}`, `/${name}`] : ['', `/${name}`];
}
