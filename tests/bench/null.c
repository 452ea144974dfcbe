/* The yardstick: a FastCGI program that reads the body, computes its HMAC and answers. Run it
 * with LIBFCGI_OS_CLOSE_POLL_TIMEOUT=0, which is the most that libfcgi gives. */
#include <fcgiapp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#define BODY_MAX 65536

int main(void)
{
	static char body[BODY_MAX];
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_len;
	FCGX_Request request;

	if (FCGX_Init() || FCGX_InitRequest(&request, 0, 0))
		return EXIT_FAILURE;
	while (FCGX_Accept_r(&request) == 0) {
		int n = FCGX_GetStr(body, BODY_MAX, request.in);

		if (!HMAC(EVP_sha256(), "secret", 6, (unsigned char *)body, (size_t)n, mac, &mac_len))
			return EXIT_FAILURE;
		FCGX_FPrintF(request.out, "Status: 200 OK\r\nContent-Type: application/json\r\n\r\n{\"mac\":%d}\n",
		             mac[0]);
		FCGX_Finish_r(&request);
	}
	return EXIT_SUCCESS;
}
