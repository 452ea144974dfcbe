/* A CGI program that only answers: what a call costs before any of ours. Linked with our libraries
 * it shows what loading those costs. */
#include <stdio.h>

int main(void)
{
	puts("Status: 200 OK\r\nContent-Type: application/json\r\n\r\n{}");
	return 0;
}
