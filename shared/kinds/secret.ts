import { isDeepStrictEqual } from 'node:util';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { fieldForbidden, fieldInvalid, fieldRequired, type FieldError } from '../status.ts';
import { bool, bytes, dflt, map, opt, str } from '../schema.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { dataErrors } from './data-rules.ts';

const SecretSchema = topLevel('core.v1.Secret', {
  immutable: opt(bool(), 'Whether data can no longer change.'),
  data: opt(map(bytes()), 'Bytes by key, in base64.'),
  stringData: opt(map(str()), 'Text by key; write-only, merged into data.'),
  type: dflt(str(), 'Opaque', 'What the data is for; fixes which keys are required.'),
}, 'Confidential data for pods to consume.');
export type Secret = ObjectOf<typeof SecretSchema>;

/** Text given in stringData replaces what data holds under the same key. */
function mergeStringData(secret: Secret): void {
  if (!secret.stringData) return;
  const encoded = Object.entries(secret.stringData).map(([key, text]) => [key, Buffer.from(text).toString('base64')]);
  if (encoded.length > 0) secret.data = { ...secret.data, ...Object.fromEntries(encoded) };
  delete secret.stringData;
}

/** Keys that a type requires. Of basic-auth, one of the two is enough. */
const requiredKeys: ReadonlyMap<string, readonly string[]> = new Map([
  ['kubernetes.io/dockercfg', ['.dockercfg']],
  ['kubernetes.io/dockerconfigjson', ['.dockerconfigjson']],
  ['kubernetes.io/ssh-auth', ['ssh-privatekey']],
  ['kubernetes.io/tls', ['tls.crt', 'tls.key']],
]);
const accountName = 'kubernetes.io/service-account.name';

function isJson(base64: string): boolean {
  try {
    JSON.parse(Buffer.from(base64, 'base64').toString());
    return true;
  } catch {
    return false;
  }
}

function validateType({ type, data = {}, metadata }: Secret): FieldError[] {
  const missing = (requiredKeys.get(type) ?? []).filter((key) => !Object.hasOwn(data, key));
  if (missing.length > 0) return missing.map((key) => fieldRequired(`data[${key}]`));
  switch (type) {
    case 'kubernetes.io/service-account-token':
      return metadata.annotations?.[accountName] ? [] : [fieldRequired(`metadata.annotations[${accountName}]`)];
    case 'kubernetes.io/basic-auth':
      if (Object.hasOwn(data, 'username') || Object.hasOwn(data, 'password')) return [];
      return [fieldRequired('data[username]'), fieldRequired('data[password]')];
    case 'kubernetes.io/dockercfg': case 'kubernetes.io/dockerconfigjson': {
      const key = requiredKeys.get(type)![0]!;
      return isJson(data[key]!) ? [] : [fieldInvalid(`data[${key}]`, '<secret contents redacted>', "invalid character '<' looking for beginning of value")];
    }
    default: return [];
  }
}

const validateSecret = (secret: Secret): FieldError[] => [...dataErrors({ data: {}, binaryData: secret.data ?? {}, binaryField: 'data' }), ...validateType(secret)];

function validateSecretUpdate(secret: Secret, old: Secret): FieldError[] {
  const errors: FieldError[] = [];
  if (secret.type !== old.type) errors.push(fieldInvalid('type', secret.type, 'field is immutable'));
  if (!old.immutable) return errors;
  if (!secret.immutable) errors.push(fieldForbidden('immutable', 'field is immutable when `immutable` is set'));
  if (!isDeepStrictEqual(secret.data ?? {}, old.data ?? {})) errors.push(fieldForbidden('data', 'field is immutable when `immutable` is set'));
  return errors;
}

export const secrets = defineKind<Secret>({
  group: '', version: 'v1', kind: 'Secret', plural: 'secrets', namespaced: true, schema: SecretSchema,
  selectableFields: { type: (o) => o.type },
  normalize: mergeStringData,
  validate: validateSecret,
  validateUpdate: validateSecretUpdate,
  columns: [
    nameColumn,
    { name: 'Type', type: 'string', description: 'What the data is for.', cell: (o) => o.type },
    { name: 'Data', type: 'integer', description: 'Number of keys.', cell: (o) => Object.keys(o.data ?? {}).length },
    ageColumn,
  ],
});
