/** `nodeName` as it is typed: `--node-name`. */
export const flagName = (option: string): string => `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** What {@link typedFlags} and a schema do not take, as one line for the user. */
export type Refusal = (message: string) => Error;

/**
 * Command-line options as they were typed: cac makes numbers of values that look like one, and lists of flags that come
 * more than once, of which only those in `lists` may. @throws what `refusal` makes
 */
export function typedFlags(options: object, lists: readonly string[], refusal: Refusal): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([option, value]: [string, unknown]) => {
    if (Array.isArray(value) && option !== '--' && !lists.includes(option)) throw refusal(`${flagName(option)}: is given more than once`);
    return [option, typeof value === 'number' ? String(value) : value];
  }));
}

/**
 * Values of a command line as they were typed, where cac has made numbers of them: `007` stays that, and is no 7.
 * @throws what `refusal` makes, of a flag with an empty value, which cac takes for 0
 */
export function asTyped(options: Readonly<Record<string, unknown>>, argv: readonly string[], refusal: Refusal): Record<string, string> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => typeof value === 'number').map(([option, value]) => {
    const name = flagName(option);
    const at = argv.findIndex((word) => word === name || word.startsWith(`${name}=`));
    const text = argv[at]?.startsWith(`${name}=`) ? argv[at].slice(name.length + 1) : argv[at + 1] ?? String(value);
    if (at >= 0 && text === '') throw refusal(`${name}: needs a value`);
    return [option, at >= 0 ? text : String(value)];
  }));
}

/** `--port: must be a port number, not "abc"`, of a schema's first issue. */
export function refusedFlag(option: string, message: string, given: unknown): string {
  const value = typeof given === 'boolean' ? 'needs a value' : `${message}, not ${JSON.stringify(given)}`;
  return `${flagName(option)}: ${value}`;
}
