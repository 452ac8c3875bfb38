/* kms-plugin FOLDER: the key management service of 46-encryption.bats. */
#include "storage/crypt/kms_plugin_for_test.h"

#include <signal.h>

int main(int argc, char **argv)
{
    static struct kms_plugin plugin = {.key = 1};
    sigset_t wanted;
    int signal;
    if (argc != 2) {
        fputs("usage: kms-plugin FOLDER\n", stderr);
        return 2;
    }
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    sigaddset(&wanted, SIGUSR2);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    kms_plugin_start(&plugin, argv[1]);
    puts(plugin.endpoint);
    fflush(stdout);
    while (sigwait(&wanted, &signal) == 0 && (signal == SIGUSR1 || signal == SIGUSR2)) {
        if (signal == SIGUSR1)
            plugin.key++;
        else
            plugin.mood = plugin.mood == PLUGIN_WELL ? PLUGIN_ILL : PLUGIN_WELL;
    }
    kms_plugin_stop(&plugin);
    return 0;
}
