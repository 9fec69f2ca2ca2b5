import { events } from '../../shared/kinds/event.ts';
import { keyOf, splitKey } from '../../shared/meta.ts';
import { defineController, some, type Controller } from './controller.ts';
import { removeIfThere } from './ensure.ts';

const minuteMs = 60_000;
const defaultTtlMs = 3_600_000;

/**
 * Deletes events an hour after they were last written. Keys are minutes: all events that are due in one minute share a
 * timer, and an event that is written again moves to a later minute.
 */
export function eventTtl(): Controller {
  const due = new Map<string, Set<string>>();
  const minuteOf = new Map<string, string>();
  return defineController({
    name: 'event-ttl', concurrency: 1,
    watches: [{
      kind: some(events),
      keys({ object, type }, { clock, settings }) {
        const key = keyOf(object);
        due.get(minuteOf.get(key) ?? '')?.delete(key);
        minuteOf.delete(key);
        if (type === 'DELETED') return [];
        const event = object as { lastTimestamp?: string; metadata: { creationTimestamp?: string } };
        // What a node was long in telling counts from when it came; no clock of a node keeps an event for ever.
        const writtenMs = Math.min(clock.now(), Math.max(Date.parse(event.lastTimestamp ?? '') || 0, Date.parse(event.metadata.creationTimestamp ?? '') || 0) || clock.now());
        const minute = String(Math.ceil((writtenMs + (settings.eventTtlMs ?? defaultTtlMs)) / minuteMs));
        minuteOf.set(key, minute);
        const keys = due.get(minute);
        if (keys) keys.add(key);
        else due.set(minute, new Set([key]));
        return keys ? [] : [minute];
      },
    }],
    async reconcile(minute, { clock, registry }) {
      const waitMs = Number(minute) * minuteMs - clock.now();
      if (waitMs > 0) return { requeueAfterMs: waitMs };
      const keys = [...due.get(minute) ?? []];
      due.delete(minute);
      for (const key of keys) {
        const { namespace, name } = splitKey(key);
        await removeIfThere(registry, some(events), namespace, name);
      }
      return undefined;
    },
  });
}
