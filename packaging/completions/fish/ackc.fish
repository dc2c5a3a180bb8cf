# fish completion for ackc(1)

complete -c ackc -f
complete -c ackc -n __fish_use_subcommand -a send -d 'Send text, print the replies'
complete -c ackc -n __fish_use_subcommand -a ping -d 'Round-trip times, verified'
complete -c ackc -n __fish_use_subcommand -a load -d 'Throughput and latencies'
complete -c ackc -a '(__fish_print_hostnames)' -d Host

complete -c ackc -s w -l timeout -x -d 'Seconds for connecting and each reply'
complete -c ackc -s 4 -d 'IPv4 only'
complete -c ackc -s 6 -d 'IPv6 only'
complete -c ackc -l json -d 'Objects of JSON, one a line'
complete -c ackc -s h -l help -d 'Print a summary of the options'
complete -c ackc -s V -l version -d 'Print the versions'

set -l ping '__fish_seen_subcommand_from ping'
set -l load '__fish_seen_subcommand_from load'
set -l both '__fish_seen_subcommand_from ping load'

complete -c ackc -n $both -s s -l size -x -d 'Bytes, with the line end'
complete -c ackc -n $both -s q -l quiet -d 'Only the summary'
complete -c ackc -n $both -l prefix -x -d 'What is to stand before a text'
complete -c ackc -n $both -l suffix -x -d 'What is to stand after a text'

complete -c ackc -n $ping -s c -l count -x -d 'Stop after so many probes'
complete -c ackc -n $ping -s i -l interval -x -d 'Seconds between probes'
complete -c ackc -n $ping -s W -l wait -x -d 'Seconds for a reply'
complete -c ackc -n $ping -l new-connection -d 'A connection for each probe'
complete -c ackc -n $ping -l plugin -d 'One line for monitoring'
complete -c ackc -n $ping -l warn -x -d 'MS[,LOSS%] of a warning'
complete -c ackc -n $ping -l crit -x -d 'MS[,LOSS%] of the critical state'

complete -c ackc -n $load -s c -l connections -x -d 'How many connections'
complete -c ackc -n $load -s t -l threads -x -d 'How many threads'
complete -c ackc -n $load -s p -l depth -x -d 'Messages under way on a connection'
complete -c ackc -n $load -s d -l duration -x -d 'Seconds to send'
complete -c ackc -n $load -s n -l count -x -d 'Messages to send'
complete -c ackc -n $load -s r -l rate -x -d 'Messages a second, by a schedule'
complete -c ackc -n $load -l lines -d 'A reply to each line'
complete -c ackc -n $load -l file -r -F -d 'Send its text'
complete -c ackc -n $load -l histogram -d 'Of the latencies'
