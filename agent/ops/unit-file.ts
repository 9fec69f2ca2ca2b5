export interface UnitOptions {
  /** Program with its arguments; paths absolute. */
  readonly command: readonly string[];
  readonly dataDir: string;
  /** Hide the host's files from the agent (`dataDir` must not be in what is hidden); then pods may have neither hostPath volumes nor emptyDirs in memory. */
  readonly sandbox: boolean;
}

/** First line of every unit that `install` wrote: `uninstall` touches no other. */
export const unitMark = '# Written by "wherry agent install"; "wherry agent uninstall" removes it.';
export const unitName = 'wherry-agent.service';

/**
 * The systemd unit of an agent, as text. What it does not forbid, an agent needs: Docker's socket, ports and addresses of
 * services, one route (CAP_NET_ADMIN over AF_NETLINK), and volumes of pods.
 */
export function unitText({ command, dataDir, sandbox }: UnitOptions): string {
  return `${unitMark}
[Unit]
Description=Wherry agent
# Started after the engine where both start; an engine that is restarted does not take the agent with it.
After=network.target docker.service
Wants=docker.service
# However often it fails: nobody may be near to start it again.
StartLimitIntervalSec=0

[Service]
Type=simple
ExecStart=${command.map((word) => quoted(word.replaceAll('$', '$$$$'))).join(' ')}
Restart=always
RestartSec=5
# Containers are the engine's, not in this group: they go on whatever becomes of the agent.
KillMode=mixed
TimeoutStopSec=20
LimitNOFILE=524288
TasksMax=512
OOMScoreAdjust=-900
# The agent needs about 30 MB as one file (50 while it starts), and about 110 from a checkout; pods do not count.
# A hard limit, if you want one:
# MemoryMax=256M

NoNewPrivileges=yes
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETGID CAP_SETUID CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_RESOURCE
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
LockPersonality=yes
RestrictRealtime=yes
KeyringMode=private
# Not RestrictSUIDSGID: volumes with fsGroup are set-group-ID directories. Not MemoryDenyWriteExecute: V8 compiles.
${sandbox ? sandboxText(dataDir) : openText}
[Install]
WantedBy=multi-user.target
`;
}

/** Any of these gives the agent a mount namespace of its own. */
const sandboxText = (dataDir: string): string => `
ProtectSystem=strict
ReadWritePaths=${quoted(dataDir)}
ProtectHome=yes
PrivateTmp=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
`;

const openText = `# Not ProtectSystem, ProtectHome, PrivateTmp: they give the agent a view of the host's files that is not the engine's.
# A hostPath below /home or /tmp would be checked in the wrong place, and an emptyDir in memory, which the agent mounts,
# would not be there for the engine. "install --sandbox" has them, for nodes whose pods use neither.
`;

/** A word of a unit's setting (systemd.syntax(7)): quoted where need be, and without specifiers. */
export function quoted(word: string): string {
  const plain = word.replaceAll('%', '%%');
  return /^[\w./:=@%$+,-]+$/.test(plain) ? plain : `"${plain.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
