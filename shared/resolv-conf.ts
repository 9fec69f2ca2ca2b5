/** Settings of a resolver, as `resolv.conf(5)` has them. */
export interface ResolverSettings {
  /** Addresses. */
  readonly servers: readonly string[];
  /** Domains, without a dot at the end. */
  readonly searches: readonly string[];
  /** `ndots:5`, `rotate`. */
  readonly options: readonly string[];
}

/** Reads a resolv.conf as the kubelet does: servers add up; of `search` (or `domain`) and `options` the last line counts. */
export function parseResolvConf(text: string): ResolverSettings {
  const servers: string[] = [];
  let searches: string[] = [];
  let options: string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...values] = line.trim().split(/\s+/);
    if (word === 'nameserver' && values[0]) servers.push(values[0]);
    else if (word === 'search' || word === 'domain') searches = values.map((value) => (value === '.' ? value : value.replace(/\.$/, '')));
    else if (word === 'options') options = values;
  }
  return { servers, searches, options };
}

/** The file that says so. */
export function resolvConfText({ servers, searches, options }: ResolverSettings): string {
  return [
    ...(searches.length > 0 ? [`search ${searches.join(' ')}`] : []),
    ...servers.map((server) => `nameserver ${server}`),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n');
}
