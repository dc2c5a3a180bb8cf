# fish completion for ackd(8)

set -l run 'not __fish_contains_opt reload'
set -l reload 'not __fish_contains_opt -s p port set -s t check-config -s T dump-config'

complete -c ackd -f
complete -c ackd -s c -l config -r -F -d 'Configuration file'
complete -c ackd -n $run -s p -l port -x -d 'Port to listen on'
complete -c ackd -n $run -l set -x -d 'Set any setting: NAME=VALUE'
complete -c ackd -n $run -s t -l check-config -d 'Check the configuration and exit'
complete -c ackd -n $run -s T -l dump-config -d 'Print the checked configuration with defaults'
complete -c ackd -n $reload -l reload -d 'Make the running ackd reload and wait for the outcome'
complete -c ackd -s h -l help -d 'Print a summary of the options'
complete -c ackd -s V -l version -d 'Print the versions'
