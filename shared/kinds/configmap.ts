import { isDeepStrictEqual } from 'node:util';
import { bool, map, opt, str, bytes } from '../schema.ts';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { fieldForbidden, type FieldError } from '../status.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { dataErrors } from './data-rules.ts';

const ConfigMapSchema = topLevel('core.v1.ConfigMap', {
  data: opt(map(str()), 'Text by key.'),
  binaryData: opt(map(bytes()), 'Bytes by key, in base64.'),
  immutable: opt(bool(), 'Whether data can no longer change.'),
}, 'Configuration data for pods to consume.');
export type ConfigMap = ObjectOf<typeof ConfigMapSchema>;

const validateConfigMap = ({ data = {}, binaryData = {} }: ConfigMap): FieldError[] => dataErrors({ data, binaryData, binaryField: 'binaryData' });

function validateConfigMapUpdate(configMap: ConfigMap, old: ConfigMap): FieldError[] {
  if (!old.immutable) return [];
  const frozen = 'field is immutable when `immutable` is set';
  const errors: FieldError[] = [];
  if (!configMap.immutable) errors.push(fieldForbidden('immutable', frozen));
  if (!isDeepStrictEqual(configMap.data ?? {}, old.data ?? {})) errors.push(fieldForbidden('data', frozen));
  if (!isDeepStrictEqual(configMap.binaryData ?? {}, old.binaryData ?? {})) errors.push(fieldForbidden('binaryData', frozen));
  return errors;
}

export const configMaps = defineKind<ConfigMap>({
  group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', shortNames: ['cm'], namespaced: true, schema: ConfigMapSchema,
  validate: validateConfigMap,
  validateUpdate: validateConfigMapUpdate,
  columns: [
    nameColumn,
    { name: 'Data', type: 'integer', description: 'Number of keys.', cell: (o) => Object.keys(o.data ?? {}).length + Object.keys(o.binaryData ?? {}).length },
    ageColumn,
  ],
});
