/** Severity of a line; `debug` lines are dropped unless asked for. */
export type Level = 'debug' | 'info' | 'warn' | 'error';

/** Writes one line per call: time, level, component, message, then `key=value` fields. */
export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The same log under another component name. */
  named(component: string): Log;
}

/** Values are printed with JSON quoting where they hold spaces; an Error prints its message, and its stack at `error`. */
export type Fields = Readonly<Record<string, unknown>>;

const order: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export interface LogOptions {
  readonly component: string;
  readonly level: Level;
  /** Receives whole lines with their newline; standard error by default. */
  readonly write?: (line: string) => void;
}

export function createLog(options: LogOptions): Log {
  const write = options.write ?? ((line: string) => { process.stderr.write(line); });
  const at = (level: Level) => (message: string, fields: Fields = {}): void => {
    if (order[level] < order[options.level]) return;
    write(`${new Date().toISOString()} ${level.toUpperCase().padEnd(5)} ${options.component}: ${message}${fieldsText(fields, level)}\n`);
  };
  return {
    debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'),
    named: (component) => createLog({ ...options, component }),
  };
}

/** A log that drops everything, for tests. */
export const silentLog: Log = createLog({ component: '', level: 'error', write: () => {} });

function fieldsText(fields: Fields, level: Level): string {
  let text = '';
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) text += ` ${key}=${valueText(value, level)}`;
  }
  return text;
}

function valueText(value: unknown, level: Level): string {
  if (value instanceof Error) return JSON.stringify(level === 'error' ? value.stack ?? value.message : value.message);
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}
