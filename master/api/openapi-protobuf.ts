/**
 * The protobuf form of an OpenAPI v2 document (message `openapi.v2.Document` of google/gnostic), which kubectl up to
 * 1.26 reads its schemas from. Field numbers are from gnostic's `openapiv2/OpenAPIv2.proto`.
 */

type Json = Record<string, unknown>;

/** Appends fields to one message. */
class Message {
  readonly #parts: Uint8Array[] = [];

  text(field: number, value: unknown): this {
    return value === undefined || value === '' ? this : this.bytes(field, Buffer.from(String(value)));
  }

  bytes(field: number, value: Uint8Array): this {
    this.#parts.push(varint(field * 8 + 2), varint(value.length), value);
    return this;
  }

  flag(field: number, value: unknown): this {
    if (value === true) this.#parts.push(varint(field * 8), varint(1));
    return this;
  }

  message(field: number, value: Message | undefined): this {
    return value ? this.bytes(field, value.encode()) : this;
  }

  encode(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

const entries = (value: unknown): [string, Json][] => Object.entries((value ?? {}) as Record<string, Json>);
const strings = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);

/** `NamedX`: a name and its value. */
const named = (name: string, value: Message): Message => new Message().text(1, name).message(2, value);

/** `Any` carries YAML text, of which JSON is a part. */
const any = (value: unknown): Message => new Message().text(2, JSON.stringify(value));

function extensions(into: Message, field: number, json: Json): Message {
  for (const [key, value] of Object.entries(json)) if (key.startsWith('x-')) into.message(field, named(key, any(value)));
  return into;
}

export function encodeOpenApiV2(document: unknown): Uint8Array {
  const json = document as Json;
  const info = json['info'] as Json;
  const message = new Message().text(1, json['swagger']).message(2, new Message().text(1, info['title']).text(2, info['version']));
  const paths = new Message();
  for (const [path, item] of entries(json['paths'])) paths.message(2, named(path, pathItem(item)));
  const definitions = new Message();
  for (const [name, value] of entries(json['definitions'])) definitions.message(1, named(name, schema(value)));
  return message.message(8, paths).message(9, definitions).encode();
}

const methodFields: Readonly<Record<string, number>> = { get: 2, put: 3, post: 4, delete: 5, patch: 8 };

function pathItem(item: Json): Message {
  const message = new Message();
  for (const [method, field] of Object.entries(methodFields)) {
    if (item[method]) message.message(field, operation(item[method] as Json));
  }
  for (const parameter of (item['parameters'] ?? []) as Json[]) message.message(9, parametersItem(parameter));
  return message;
}

function operation(json: Json): Message {
  const message = new Message();
  for (const tag of strings(json['tags'])) message.text(1, tag);
  message.text(3, json['description']).text(5, json['operationId']);
  for (const type of strings(json['produces'])) message.text(6, type);
  for (const type of strings(json['consumes'])) message.text(7, type);
  for (const parameter of (json['parameters'] ?? []) as Json[]) message.message(8, parametersItem(parameter));
  const responses = new Message();
  for (const [code, response] of entries(json['responses'])) responses.message(1, named(code, new Message().message(1, responseBody(response))));
  return extensions(message.message(9, responses), 13, json);
}

function responseBody(json: Json): Message {
  const body = json['schema'] ? new Message().message(1, schema(json['schema'] as Json)) : undefined;
  return new Message().text(1, json['description']).message(2, body);
}

function parametersItem(json: Json): Message {
  return new Message().message(1, parameter(json));
}

function parameter(json: Json): Message {
  if (json['in'] === 'body') {
    const body = new Message().text(2, json['name']).text(3, 'body').flag(4, json['required']).message(5, schema((json['schema'] ?? {}) as Json));
    return new Message().message(1, body);
  }
  const path = json['in'] === 'path';
  const sub = new Message().flag(1, json['required']).text(2, json['in']).text(3, json['description']).text(4, json['name']);
  sub.text(path ? 5 : 6, json['type']).flag(path ? 19 : 20, json['uniqueItems']);
  return new Message().message(2, new Message().message(path ? 4 : 3, sub));
}

function schema(json: Json): Message {
  const message = new Message().text(1, json['$ref']).text(2, json['format']).text(4, json['description']);
  for (const name of strings(json['required'])) message.text(19, name);
  for (const value of (json['enum'] ?? []) as unknown[]) message.message(20, any(value));
  if (json['additionalProperties']) message.message(21, new Message().message(1, schema(json['additionalProperties'] as Json)));
  if (json['type']) message.message(22, new Message().text(1, json['type']));
  if (json['items']) message.message(23, new Message().message(1, schema(json['items'] as Json)));
  const properties = entries(json['properties']);
  if (properties.length > 0) {
    const all = new Message();
    for (const [name, value] of properties) all.message(1, named(name, schema(value)));
    message.message(25, all);
  }
  return extensions(message, 31, json);
}
