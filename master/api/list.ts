import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { expired, StatusError } from '../../shared/status.ts';
import { parseDocument } from '../registry/cache.ts';
import { storeKey, type Registry } from '../registry/registry.ts';
import type { Entry } from '../store/store.ts';
import { BodyStream } from './body-stream.ts';
import { ContinueExpired, decodeContinue, encodeContinue, type ContinueToken } from './continue.ts';
import { encoderOf } from './encode.ts';
import type { Encoder, Item } from './encoder.ts';
import type { Exchange } from './exchange.ts';
import { negotiate } from './negotiate.ts';
import { listOptions, type ListOptions } from './options.ts';
import { selectionOf, type Selection } from './select.ts';
import { includeObject } from './table.ts';

/** What one list reads: keys under a prefix, in one snapshot. */
interface Reading {
  readonly kind: Kind;
  readonly prefix: string;
  readonly selection: Selection;
  readonly limit: number;
  /** Revision to read at; undefined for the newest. */
  readonly atRevision: number | undefined;
  /** Key after which to begin, without the prefix. */
  readonly after: string | undefined;
  readonly token: ContinueToken | undefined;
}

/** Answers a list, straight from stored bytes wherever no selector or table needs more. */
export async function list(x: Exchange, registry: Registry, kind: Kind, namespace: string, now: () => number): Promise<void> {
  const representation = negotiate(x.header('accept'), true);
  const options = listOptions(x.query, false);
  const encoder = encoderOf({ kind, representation, includeObject: includeObject(x.query), now });
  const reading = plan(registry, kind, namespace, options);
  const stream = new BodyStream(x, 200, encoder.listType);
  const revision = reading.atRevision ?? registry.store.revision;
  const entries = open(registry, reading);
  if (reading.limit > 0) await sendPage(registry, reading, entries, revision, encoder, stream);
  else await sendAll(reading, entries, revision, encoder, stream);
}

/** @throws StatusError 400, 410, 504 for a revision that is not there yet */
function plan(registry: Registry, kind: Kind, namespace: string, options: ListOptions): Reading {
  const selection = selectionOf(kind, namespace, '', options);
  const scope = kind.namespaced ? selection.namespace : '';
  const token = options.continueToken ? decodeContinue(options.continueToken) : undefined;
  const newest = registry.store.revision;
  const asked = token && token.revision > 0 ? token.revision : exactRevision(options);
  checkNotFuture(Math.max(options.resourceVersion ?? 0, asked ?? 0), newest);
  return {
    kind, selection, token, limit: options.limit,
    prefix: scope ? `${kind.prefix}${scope}/` : kind.prefix,
    atRevision: asked === newest ? undefined : asked,
    after: token?.after,
  };
}

/** The revision that a list must show exactly: by its match, or as clients before it had one paged. */
function exactRevision({ match, resourceVersion, limit }: ListOptions): number | undefined {
  if (!resourceVersion) return undefined;
  return match === 'Exact' || (match === '' && limit > 0) ? resourceVersion : undefined;
}

/** @throws StatusError 504 as `NewTooLargeResourceVersionError` */
export function checkNotFuture(asked: number, newest: number): void {
  if (asked <= newest) return;
  throw new StatusError(504, 'Timeout', `Timeout: Too large resource version: ${asked}, current: ${newest}`, {
    retryAfterSeconds: 1, causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
  });
}

/** The entries in scope. The snapshot is taken here, before anybody else runs. */
function open(registry: Registry, reading: Reading): Iterator<Entry> {
  const { kind, selection, prefix, atRevision, after } = reading;
  if (selection.name && atRevision === undefined && (selection.namespace || !kind.namespaced)) {
    const entry = registry.store.get(storeKey(kind, selection.namespace, selection.name));
    return (entry ? [entry] : []).values();
  }
  const range = { brief: reading.limit === 0, ...(atRevision === undefined ? {} : { atRevision }), ...(after === undefined ? {} : { after: prefix + after }) };
  try {
    return primed(registry.store.range(prefix, range)[Symbol.iterator]());
  } catch (error) {
    if (!(error instanceof StatusError) || error.code !== 410) throw error;
    throw reading.token ? new ContinueExpired(reading.token.after) : expired('The resourceVersion for the provided list is too old.');
  }
}

/** Reads the first entry now, so that the snapshot is today's and an error comes before the answer begins. */
function primed(entries: Iterator<Entry>): Iterator<Entry> {
  let first: IteratorResult<Entry> | undefined = entries.next();
  return {
    next: () => {
      if (!first) return entries.next();
      const result = first;
      first = undefined;
      return result;
    },
    return: (value) => entries.return?.(value) ?? { done: true, value },
  };
}

/** The entry as an item when it is selected. */
function select({ selection }: Reading, entry: Entry): Item | undefined {
  const item = lazyItem(entry);
  if (selection.everything && !selection.name) return item;
  if (selection.name && !entry.key.endsWith(`/${selection.name}`)) return undefined;
  return selection.everything || (selection.mayMatch(entry.bytes) && selection.matches(item.object)) ? item : undefined;
}

/** Parsed outside of the registry's cache: a long list would push everything else out of it. */
function lazyItem({ bytes }: Entry): Item {
  let object: KubeObject | undefined;
  return { bytes, get object() { return (object ??= parseDocument<KubeObject>(bytes)); } };
}

async function sendAll(reading: Reading, entries: Iterator<Entry>, revision: number, encoder: Encoder, stream: BodyStream): Promise<void> {
  stream.push(encoder.open({ resourceVersion: String(revision) }));
  let first = true;
  for (let next = entries.next(); !next.done; next = entries.next()) {
    // Entries are brief: nothing may be awaited before theirs is pushed.
    const item = select(reading, next.value);
    if (item) {
      if (!first) stream.push(encoder.separator);
      first = false;
      stream.push(encoder.item(item));
    }
    if (stream.due) await stream.pause();
    if (stream.closed) return void entries.return?.();
  }
  stream.push(encoder.close);
  stream.end();
}

/** A page is gathered before it is sent: its head tells whether it is the last. */
async function sendPage(registry: Registry, reading: Reading, entries: Iterator<Entry>, revision: number, encoder: Encoder, stream: BodyStream): Promise<void> {
  const items: Item[] = [];
  let last = '';
  let next = entries.next();
  for (; !next.done && items.length < reading.limit; next = entries.next()) {
    if (stream.due) await stream.pause();
    if (stream.closed) return void entries.return?.();
    const item = select(reading, next.value);
    last = next.value.key;
    if (item) items.push(item);
  }
  entries.return?.();
  stream.push(encoder.open({ resourceVersion: String(revision), ...(next.done ? {} : rest(registry, reading, revision, last)) }));
  for (const [index, item] of items.entries()) {
    if (stream.due) await stream.pause();
    if (index > 0) stream.push(encoder.separator);
    stream.push(encoder.item(item));
  }
  stream.push(encoder.close);
  stream.end();
}

function rest(registry: Registry, { prefix, selection }: Reading, revision: number, last: string): { continue: string; remainingItemCount?: number } {
  const next = encodeContinue({ revision, after: last.slice(prefix.length) });
  // As in Kubernetes, no count for lists with selectors: the rest would have to be read.
  return selection.everything && !selection.name ? { continue: next, remainingItemCount: registry.store.count(prefix, last) } : { continue: next };
}
