// UDP for tests: netecho serve PORT | netecho send IP PORT TEXT [TIMEOUT_MS]
//   serve  answers each datagram with "HOSTNAME PEER-IP:PEER-PORT TEXT", until SIGTERM
//   send   sends one datagram and prints the answer; exit 1 when none came in time (1000 ms)
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void quit(int signal) { _exit(0); }

static int serve(int socket, int port) {
  struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(port)}, peer;
  char host[65] = "", text[65536], answer[65536 + 128];
  if (bind(socket, (struct sockaddr *)&self, sizeof self)) return perror("netecho: bind"), 1;
  gethostname(host, sizeof host - 1);
  for (;;) {
    socklen_t length = sizeof peer;
    int n = recvfrom(socket, text, sizeof text - 128, 0, (struct sockaddr *)&peer, &length);
    if (n < 0) continue;  // an ICMP error to an earlier answer
    n = snprintf(answer, sizeof answer, "%s %s:%d %.*s", host, inet_ntoa(peer.sin_addr), ntohs(peer.sin_port), n, text);
    sendto(socket, answer, n, 0, (struct sockaddr *)&peer, length);
  }
}

static int send_one(int socket, const char *ip, int port, const char *text, int timeout_ms) {
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct pollfd answer = {.fd = socket, .events = POLLIN};
  char buffer[65536 + 128];
  if (!inet_aton(ip, &peer.sin_addr)) return fprintf(stderr, "netecho: not an IPv4 address: %s\n", ip), 2;
  if (connect(socket, (struct sockaddr *)&peer, sizeof peer)) return perror("netecho: connect"), 1;
  if (send(socket, text, strlen(text), 0) < 0) return perror("netecho: send"), 1;
  if (poll(&answer, 1, timeout_ms) < 1) return fprintf(stderr, "netecho: no answer in %d ms\n", timeout_ms), 1;
  int n = recv(socket, buffer, sizeof buffer, 0);
  if (n < 0) return perror("netecho: recv"), 1;
  return printf("%.*s\n", n, buffer), 0;
}

int main(int count, char **args) {
  int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
  signal(SIGTERM, quit);  // as process 1 it would not die by default
  signal(SIGINT, quit);
  if (count == 3 && !strcmp(args[1], "serve")) return serve(datagrams, atoi(args[2]));
  if ((count == 5 || count == 6) && !strcmp(args[1], "send"))
    return send_one(datagrams, args[2], atoi(args[3]), args[4], count == 6 ? atoi(args[5]) : 1000);
  fprintf(stderr, "netecho serve PORT | netecho send IP PORT TEXT [TIMEOUT_MS]\n");
  return 2;
}
