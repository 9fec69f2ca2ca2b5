import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type Kind, type ObjectOf } from '../kind.ts';
import type { KubeObject } from '../meta.ts';
import { dflt, int32, microTime, obj, opt, req, str, time } from '../schema.ts';
import { events, EventSource, type Event } from './event.ts';
import { ObjectReference } from './references.ts';

const EventSeriesV1 = obj('events.v1.EventSeries', {
  count: req(int32(), 'How often it happened.'),
  lastObservedTime: req(microTime(), 'When it last happened.'),
}, 'Repetitions of an event.');

const EventV1Schema = topLevel('events.v1.Event', {
  eventTime: opt(microTime(), 'When it was first seen.'),
  series: opt(EventSeriesV1, 'Repetitions, if it is repeated.'),
  reportingController: opt(str(), 'Controller that reports.'),
  reportingInstance: opt(str(), 'Instance of that controller.'),
  action: opt(str(), 'What was done or failed.'),
  reason: opt(str(), 'Short machine-readable cause.'),
  regarding: opt(ObjectReference, 'What the event is about.'),
  related: opt(ObjectReference, 'A second object that the event is about.'),
  note: opt(str(), 'What happened.'),
  type: opt(str(), 'Normal or Warning.'),
  deprecatedSource: opt(EventSource, 'Source, of events made through the core group.'),
  deprecatedFirstTimestamp: opt(time(), 'First time, of events made through the core group.'),
  deprecatedLastTimestamp: opt(time(), 'Last time, of events made through the core group.'),
  deprecatedCount: opt(int32(), 'Count, of events made through the core group.'),
}, 'Something that happened to an object.');
export type EventV1 = ObjectOf<typeof EventV1Schema>;
type SeriesV1 = InferOutput<typeof EventSeriesV1>;

/** Fields of both forms that only differ in name; core name first. */
const renamed = [
  ['involvedObject', 'regarding'], ['message', 'note'], ['reportingComponent', 'reportingController'], ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'], ['lastTimestamp', 'deprecatedLastTimestamp'], ['count', 'deprecatedCount'],
] as const;
/** Fields of both forms under one name. */
const same = ['metadata', 'eventTime', 'series', 'reportingInstance', 'action', 'reason', 'related', 'type'] as const;

type Fields = Record<string, unknown>;

function copy(from: Fields, to: Fields, names: readonly (readonly [from: string, to: string])[]): void {
  for (const [source, target] of names) if (from[source] !== undefined) to[target] = from[source];
  for (const name of same) if (from[name] !== undefined) to[name] = from[name];
}

/** The core form of an event. */
export function toCoreEvent(event: EventV1): Event {
  const core: Fields = { apiVersion: events.apiVersion, kind: events.kind, involvedObject: {}, source: {}, reportingComponent: '', reportingInstance: '' };
  copy(event as unknown as Fields, core, renamed.map(([coreName, name]) => [name, coreName]));
  return core as unknown as Event;
}

/** The events.k8s.io form of a core event. */
export function fromCoreEvent(core: Event): EventV1 {
  const event: Fields = { apiVersion: 'events.k8s.io/v1', kind: 'Event' };
  copy(core as unknown as Fields, event, renamed);
  const series = core.series;
  if (series) event['series'] = { count: series.count ?? 0, lastObservedTime: series.lastObservedTime ?? core.eventTime ?? '' } satisfies SeriesV1;
  return event as unknown as EventV1;
}

/** The same events in their newer form. */
export const eventsV1 = defineKind<EventV1>({
  group: 'events.k8s.io', version: 'v1', kind: 'Event', plural: 'events', shortNames: ['ev'], namespaced: true, schema: EventV1Schema,
  selectableFields: {
    'regarding.kind': (o) => o.regarding?.kind ?? '',
    'regarding.namespace': (o) => o.regarding?.namespace ?? '',
    'regarding.name': (o) => o.regarding?.name ?? '',
    'regarding.uid': (o) => o.regarding?.uid ?? '',
    'regarding.apiVersion': (o) => o.regarding?.apiVersion ?? '',
    'regarding.resourceVersion': (o) => o.regarding?.resourceVersion ?? '',
    'regarding.fieldPath': (o) => o.regarding?.fieldPath ?? '',
    reason: (o) => o.reason ?? '',
    reportingController: (o) => o.reportingController ?? '',
    type: (o) => o.type ?? '',
  },
  storedAs: {
    kind: events as unknown as Kind,
    toStored: toCoreEvent,
    fromStored: (stored: KubeObject) => fromCoreEvent(stored as Event),
  },
  columns: events.columns.map((column) => ({ ...column, cell: (event: EventV1, now: number) => column.cell(toCoreEvent(event), now) })),
});
