import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.concurrent.Executor;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The token of this service, renewed after 80 % of its lifetime. It goes with every call of a stub. */
final class ServiceToken extends CallCredentials {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  // Use your JSON library; this program has none. A token has only characters that JSON does not escape.
  private static final Pattern TOKEN = Pattern.compile("\"access_token\"\\s*:\\s*\"([^\"]+)\"");
  private static final Pattern LIFETIME = Pattern.compile("\"expires_in\"\\s*:\\s*(\\d+)");

  private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
  private String token = "";
  private long renewAt = System.nanoTime();

  @Override
  public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
    executor.execute(
        () -> {
          try {
            Metadata headers = new Metadata();
            headers.put(AUTHORIZATION, "Bearer " + current());
            applier.apply(headers);
          } catch (IOException | InterruptedException failure) {
            applier.fail(Status.UNAUTHENTICATED.withDescription("no token").withCause(failure));
          }
        });
  }

  private synchronized String current() throws IOException, InterruptedException {
    if (System.nanoTime() - renewAt >= 0) {
      String secret = System.getenv("CLIENT_ID") + ":" + System.getenv("CLIENT_SECRET");
      HttpRequest request =
          HttpRequest.newBuilder(URI.create(System.getenv("TOKEN_URL")))
              .timeout(Duration.ofSeconds(10))
              .header("Authorization", "Basic " + encoded(secret))
              .header("Content-Type", "application/x-www-form-urlencoded")
              .POST(HttpRequest.BodyPublishers.ofString("grant_type=client_credentials"))
              .build();
      HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
      Matcher issued = TOKEN.matcher(response.body());
      Matcher lifetime = LIFETIME.matcher(response.body());
      if (response.statusCode() != 200 || !issued.find() || !lifetime.find()) {
        throw new IOException("no token: HTTP " + response.statusCode());
      }
      token = issued.group(1);
      renewAt = System.nanoTime() + Duration.ofSeconds(Long.parseLong(lifetime.group(1))).toNanos() * 8 / 10;
    }
    return token;
  }

  private static String encoded(String text) {
    return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }
}
