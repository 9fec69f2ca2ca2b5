import type { KubeObject } from '../../shared/meta.ts';
import type { StatusError } from '../../shared/status.ts';
import type { KindChange } from '../registry/types.ts';
import type { Item } from './encoder.ts';
import type { Selection } from './select.ts';

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';

const heads: Readonly<Record<EventType, Buffer>> = {
  ADDED: Buffer.from('{"type":"ADDED","object":'),
  MODIFIED: Buffer.from('{"type":"MODIFIED","object":'),
  DELETED: Buffer.from('{"type":"DELETED","object":'),
  BOOKMARK: Buffer.from('{"type":"BOOKMARK","object":'),
  ERROR: Buffer.from('{"type":"ERROR","object":'),
};
const tail = Buffer.from('}\n');

/** One line of a watch. */
export function eventLine(type: EventType, object: Uint8Array): Buffer {
  return Buffer.concat([heads[type], object, tail]);
}

/** The event that ends a watch that cannot go on. */
export function errorLine(error: StatusError): Buffer {
  return eventLine('ERROR', Buffer.from(JSON.stringify(error.toStatus())));
}

/** A change as one watcher sees it. */
export interface Seen {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly item: Item;
}

/**
 * What a change means to those who see only what a selection matches: an object that begins to match is added, one
 * that ceases to is deleted. Undefined for a change that they do not see.
 */
export function seenBy(selection: Selection, change: KindChange): Seen | undefined {
  if (selection.everything) return { type: change.type, item: change };
  const { type, object, previous } = change;
  if (type === 'ADDED') return selection.matches(object) ? { type, item: change } : undefined;
  // Before a state that compaction took, the client may have seen the object or not: both events are safe for either.
  const before = previous ? selection.matches(previous) : true;
  if (type === 'DELETED') return before ? { type, item: change } : undefined;
  const now = selection.matches(object);
  if (now) return { type: before ? 'MODIFIED' : 'ADDED', item: change };
  return before ? { type: 'DELETED', item: lastMatching(previous ?? object, change.revision) } : undefined;
}

/** The last state that matched, under the revision at which it ceased to. */
function lastMatching(previous: KubeObject, revision: number): Item {
  const object = { ...previous, metadata: { ...previous.metadata, resourceVersion: String(revision) } };
  return { object, get bytes() { return Buffer.from(JSON.stringify(object)); } };
}
