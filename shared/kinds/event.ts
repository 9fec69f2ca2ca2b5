import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { dflt, int32, microTime, obj, opt, req, str, time } from '../schema.ts';
import { fromTime, humanDuration } from '../time.ts';
import { fieldInvalid, type FieldError } from '../status.ts';
import { nameColumn } from './columns.ts';
import { ObjectReference } from './references.ts';

export const EventSource = obj('core.v1.EventSource', {
  component: opt(str(), 'Component that reports.'),
  host: opt(str(), 'Node that it runs on.'),
}, 'Who reports an event.');

export const EventSeries = obj('core.v1.EventSeries', {
  count: opt(int32(), 'How often it happened.'),
  lastObservedTime: opt(microTime(), 'When it last happened.'),
}, 'Repetitions of an event.');

const EventSchema = topLevel('core.v1.Event', {
  involvedObject: req(ObjectReference, 'What the event is about.'),
  reason: opt(str(), 'Short machine-readable cause.'),
  message: opt(str(), 'What happened.'),
  source: dflt(EventSource, {}, 'Who reports it.'),
  firstTimestamp: opt(time(), 'When it first happened.'),
  lastTimestamp: opt(time(), 'When it last happened.'),
  count: opt(int32(), 'How often it happened.'),
  type: opt(str(), 'Normal or Warning.'),
  eventTime: opt(microTime(), 'When it was first seen.'),
  series: opt(EventSeries, 'Repetitions, if it is repeated.'),
  action: opt(str(), 'What was done or failed.'),
  related: opt(ObjectReference, 'A second object that the event is about.'),
  reportingComponent: dflt(str(), '', 'Controller that reports.'),
  reportingInstance: dflt(str(), '', 'Instance of that controller.'),
}, 'Something that happened to an object.');
export type Event = ObjectOf<typeof EventSchema>;
export type EventSource = InferOutput<typeof EventSource>;

const since = (time: string | undefined, now: number): string => (fromTime(time) ? humanDuration(now - fromTime(time)) : '<unknown>');

function lastSeenCell(event: Event, now: number): string {
  if (event.series) return since(event.series.lastObservedTime, now);
  return since(event.lastTimestamp ?? event.firstTimestamp ?? event.eventTime, now);
}

function objectCell({ involvedObject }: Event): string {
  const kind = (involvedObject.kind ?? '').toLowerCase();
  return involvedObject.name ? `${kind}/${involvedObject.name}` : kind;
}

const sourceCell = ({ source, reportingComponent, reportingInstance }: Event): string =>
  [source.component || reportingComponent, source.host || reportingInstance].filter(Boolean).join(', ');

function countCell(event: Event): number {
  if (event.series) return event.series.count ?? 0;
  return event.count || 1;
}

function validateEvent(event: Event): FieldError[] {
  const { involvedObject, metadata } = event;
  const namespace = involvedObject.namespace || 'default';
  if (metadata.namespace && namespace !== metadata.namespace) return [fieldInvalid('involvedObject.namespace', involvedObject.namespace ?? '', 'does not match event.namespace')];
  return [];
}

export const events = defineKind<Event>({
  group: '', version: 'v1', kind: 'Event', plural: 'events', shortNames: ['ev'], namespaced: true, schema: EventSchema,
  selectableFields: {
    'involvedObject.kind': (o) => o.involvedObject.kind ?? '',
    'involvedObject.namespace': (o) => o.involvedObject.namespace ?? '',
    'involvedObject.name': (o) => o.involvedObject.name ?? '',
    'involvedObject.uid': (o) => o.involvedObject.uid ?? '',
    'involvedObject.apiVersion': (o) => o.involvedObject.apiVersion ?? '',
    'involvedObject.resourceVersion': (o) => o.involvedObject.resourceVersion ?? '',
    'involvedObject.fieldPath': (o) => o.involvedObject.fieldPath ?? '',
    reason: (o) => o.reason ?? '',
    reportingComponent: (o) => o.reportingComponent,
    source: (o) => o.source.component || o.reportingComponent,
    type: (o) => o.type ?? '',
  },
  validate: validateEvent,
  columns: [
    { name: 'Last Seen', type: 'string', description: 'When it last happened.', cell: lastSeenCell },
    { name: 'Type', type: 'string', description: 'Normal or Warning.', cell: (o) => o.type ?? '' },
    { name: 'Reason', type: 'string', description: 'Short machine-readable cause.', cell: (o) => o.reason ?? '' },
    { name: 'Object', type: 'string', description: 'What it is about.', cell: objectCell },
    { name: 'Subobject', type: 'string', description: 'Part of the object that it is about.', priority: 1, cell: (o) => o.involvedObject.fieldPath ?? '' },
    { name: 'Source', type: 'string', description: 'Who reports it.', priority: 1, cell: sourceCell },
    { name: 'Message', type: 'string', description: 'What happened.', cell: (o) => (o.message ?? '').trim() },
    { name: 'First Seen', type: 'string', description: 'When it first happened.', priority: 1, cell: (o, now) => since(o.firstTimestamp ?? o.eventTime, now) },
    { name: 'Count', type: 'string', description: 'How often it happened.', priority: 1, cell: countCell },
    { ...nameColumn, priority: 1 },
  ],
});
