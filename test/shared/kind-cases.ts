import { decode } from '../../shared/decode.ts';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';

/** A document as the registry reads one for a create: decoded, first status set, defaulted, checked. */
export function made<T extends KubeObject>(kind: Kind<T>, document: unknown): { object: T; errors: string[] } {
  const { value: object, errors } = decode<T>(kind.schema, document, { complete: true });
  object.metadata ??= {};
  kind.prepareCreate?.(object);
  kind.normalize?.(object);
  return { object, errors: texts([...errors, ...kind.validate?.(object) ?? []]) };
}

/** What is wrong with a change, as the registry finds it. */
export function changed<T extends KubeObject>(kind: Kind<T>, old: T, document: unknown): { object: T; errors: string[] } {
  const { value: object, errors } = decode<T>(kind.schema, document, { complete: true });
  object.metadata ??= {};
  kind.prepareUpdate?.(object, old);
  kind.normalize?.(object);
  return { object, errors: texts([...errors, ...kind.validate?.(object) ?? [], ...kind.validateUpdate?.(object, old) ?? []]) };
}

const texts = (errors: readonly { field: string; message: string }[]): string[] => [...new Set(errors.map((e) => `${e.field}: ${e.message}`))];

/** Cells by column name, wide ones too. */
export function cells<T extends KubeObject>(kind: Kind<T>, object: T, now: number): Record<string, string | number | boolean | null> {
  return Object.fromEntries(kind.columns.map((column) => [column.name, column.cell(object, now)]));
}
