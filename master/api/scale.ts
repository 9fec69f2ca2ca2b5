import { ageColumn, nameColumn } from '../../shared/kinds/columns.ts';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { unsupportedMediaType } from '../../shared/status.ts';
import { applyPatch } from '../registry/patch.ts';
import { fromScale, toScale, type ScaleObject } from '../registry/scale.ts';
import { sendBytes, sendJson } from './answer.ts';
import { mediaType } from './body.ts';
import type { Call } from './call.ts';
import { readDocument } from './document.ts';
import { encoderOf } from './encode.ts';
import { noSuchMethod } from './kinds.ts';
import { negotiate } from './negotiate.ts';
import { writeOptions } from './options.ts';
import { readPatch } from './patch.ts';
import { includeObject } from './table.ts';

const scaleKind = { kind: 'Scale', apiVersion: 'autoscaling/v1' };

/** Answers `RESOURCE/NAME/scale` of a kind that has replicas: get, update, patch. */
export async function scale(call: Call): Promise<void> {
  const { x, kind, request: { namespace, name }, options: { registry } } = call;
  const change = await scaleChange(call);
  if (!change) return sendScale(call, registry.get(kind, namespace, name).object);
  const stored = await registry.modify(kind, namespace, name, change, writeOptions(x, 'UpdateOptions', 'scale'));
  sendScale(call, stored.object);
}

const columns: Kind['columns'] = [
  nameColumn,
  { name: 'Desired', type: 'integer', description: 'Desired number of instances.', cell: (o) => (o as ScaleObject).spec?.replicas ?? 0 },
  { name: 'Available', type: 'integer', description: 'Observed number of instances.', cell: (o) => (o as ScaleObject).status?.replicas ?? 0 },
  ageColumn,
];

function sendScale({ x, kind, options }: Call, scaled: KubeObject): void {
  const object = toScale(kind, scaled);
  const representation = negotiate(x.header('accept'), true);
  if (representation.as === 'object') return sendJson(x, 200, object);
  const encoder = encoderOf({ kind: { ...kind, columns }, representation, includeObject: includeObject(x.query), now: options.clock.now });
  sendBytes(x, 200, encoder.one({ object, bytes: Buffer.from(JSON.stringify(object)) }));
}

/** What the request does to the scaled object; undefined for a GET. */
async function scaleChange(call: Call): Promise<((current: KubeObject) => unknown) | undefined> {
  const { x, kind } = call;
  switch (x.info.verb) {
    case 'get': return undefined;
    case 'update': {
      const { document } = await readDocument(x, scaleKind);
      return (current) => fromScale(kind, current, document);
    }
    case 'patch': {
      const media = mediaType(x.req);
      if (media.startsWith('application/apply-patch')) throw unsupportedMediaType('server-side apply of scale is not supported');
      const patch = await readPatch(call, media);
      return (current) => fromScale(kind, current, applyPatch(kind, toScale(kind, current), patch.type === 'strategic' ? { ...patch, type: 'merge' } : patch));
    }
    default: throw noSuchMethod();
  }
}
