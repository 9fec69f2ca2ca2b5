import type { RunCommand } from './run-command.ts';

interface Rule { readonly table: 'filter' | 'nat'; readonly chain: string; readonly match: readonly string[] }

/**
 * Lets pods' packets pass between hosts, where a packet filter is in the way: Docker drops what it forwards from elsewhere,
 * but for what DOCKER-USER accepts, and gives what leaves its bridges the host's address. Rules are put first, once, and stay.
 */
export class Firewall {
  readonly #run: RunCommand;

  constructor(run: RunCommand) {
    this.#run = run;
  }

  /** `podCIDR`: of this node's own bridge, if it has one. @throws when rules are needed and cannot be made */
  async ensure(clusterCIDR: string, podCIDR: string | undefined): Promise<void> {
    for (const rule of rulesFor(clusterCIDR, podCIDR)) {
      const there = await this.#run('iptables', ['-w', '10', '-t', rule.table, '-C', rule.chain, ...rule.match]).then(() => true, () => false);
      if (!there && await this.#hasChain(rule)) await this.#run('iptables', ['-w', '10', '-t', rule.table, '-I', rule.chain, ...rule.match]);
    }
  }

  /** Without iptables, Docker has made no rules either that could be in the way. */
  async #hasChain({ table, chain }: Rule): Promise<boolean> {
    return await this.#run('iptables', ['-w', '10', '-t', table, '-n', '-L', chain]).then(() => true, () => false);
  }
}

/** What must be let through, and (for pods of this node) what must keep its address. Pure. */
export function rulesFor(clusterCIDR: string, podCIDR: string | undefined): Rule[] {
  return [
    { table: 'filter', chain: 'DOCKER-USER', match: ['-s', clusterCIDR, '-j', 'ACCEPT'] },
    { table: 'filter', chain: 'DOCKER-USER', match: ['-d', clusterCIDR, '-j', 'ACCEPT'] },
    ...(podCIDR ? [{ table: 'nat' as const, chain: 'POSTROUTING', match: ['-s', podCIDR, '-d', clusterCIDR, '-j', 'ACCEPT'] }] : []),
  ];
}
