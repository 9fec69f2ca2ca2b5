import { configMapKeyErrors } from '../names.ts';
import { fieldInvalid, fieldTooLong, type FieldError } from '../status.ts';

/** Bytes that the values of one config map or secret may have. */
const limitBytes = 1024 * 1024;

/** Keys and values of a config map or secret. */
export interface DataParts {
  readonly data: Readonly<Record<string, string>>;
  /** In base64. */
  readonly binaryData: Readonly<Record<string, string>>;
  /** Field that `binaryData` is called. */
  readonly binaryField: string;
}

/** Rules for keys, for keys that are given twice, and for the total size. */
export function dataErrors({ data, binaryData, binaryField }: DataParts): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const [key, text] of Object.entries(data)) {
    errors.push(...configMapKeyErrors(key).map((problem) => fieldInvalid(`data[${key}]`, key, problem)));
    if (Object.hasOwn(binaryData, key)) errors.push(fieldInvalid(`data[${key}]`, key, 'duplicate of key present in binaryData'));
    size += Buffer.byteLength(text);
  }
  for (const [key, base64] of Object.entries(binaryData)) {
    errors.push(...configMapKeyErrors(key).map((problem) => fieldInvalid(`${binaryField}[${key}]`, key, problem)));
    size += Buffer.byteLength(base64, 'base64');
  }
  if (size > limitBytes) errors.push(fieldTooLong(binaryField === 'data' ? 'data' : '', limitBytes));
  return errors;
}
