import type { Column } from '../kind.ts';
import type { KubeObject } from '../meta.ts';
import { fromTime, humanDuration } from '../time.ts';

/** The `Name` column that every table starts with. */
export const nameColumn: Column<KubeObject> = {
  name: 'Name', type: 'string', description: 'Name of the object.', cell: (object) => object.metadata.name ?? '',
};

/** The `Age` column. */
export const ageColumn: Column<KubeObject> = {
  name: 'Age', type: 'string', description: 'Time since creation.', cell: (object, now) => ageOf(object.metadata.creationTimestamp, now),
};

/** Time since an RFC 3339 time, as kubectl prints it; `<unknown>` for an absent one. */
export const ageOf = (time: string | undefined, now: number): string => (time ? humanDuration(now - fromTime(time)) : '<unknown>');

/** Labels or a selector as `a=b,c=d`, or `<none>`. */
export function formatLabels(labels: Readonly<Record<string, string>> | undefined): string {
  const pairs = Object.keys(labels ?? {}).sort().map((key) => `${key}=${labels![key]}`);
  return pairs.join(',') || '<none>';
}
